{# A schema is named as configured, without the target's prefix: the warehouse belongs to one workspace. #}
{% macro generate_schema_name(custom_schema_name, node) -%}
  {{ (custom_schema_name or target.schema) | trim }}
{%- endmacro %}
