{# What the engine calls its types: `credit301 build` knows, see credit301.warehouse.engines. #}
{% macro text_type() -%}{{ var("text_type") }}{%- endmacro %}
{% macro float_type() -%}{{ var("float_type") }}{%- endmacro %}
