{# The time that the warehouse is built as of: no record that became available later is seen. #}
{% macro as_of() -%}cast('{{ var("as_of") }}' as timestamp){%- endmacro %}
