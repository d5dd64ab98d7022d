{#
  The time that the warehouse is built as of: no record that became available later is seen. A unit test says it by a
  variable, the build in the environment, see carrying_on.sql.
#}
{% macro as_of() -%}cast('{{ var("as_of", "") or told("AS_OF") or "9999-12-31" }}' as timestamp){%- endmacro %}
