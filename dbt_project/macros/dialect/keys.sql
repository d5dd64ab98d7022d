{# A 64-bit number that is equal for equal keys; different keys may share one, so it only preselects. #}
{% macro key_hash(columns) -%}{{ return(adapter.dispatch("key_hash")(columns)) }}{%- endmacro %}
{% macro default__key_hash(columns) -%}hash({{ columns | join(", ") }}){%- endmacro %}
{% macro postgres__key_hash(columns) -%}hashtextextended(concat_ws('|', {{ columns | join(", ") }}), 0){%- endmacro %}
{% macro spark__key_hash(columns) -%}xxhash64({{ columns | join(", ") }}){%- endmacro %}

{# An order of texts that is the same on every engine: that of their bytes. #}
{% macro in_byte_order(text) -%}{{ return(adapter.dispatch("in_byte_order")(text)) }}{%- endmacro %}
{% macro default__in_byte_order(text) -%}{{ text }}{%- endmacro %}
{% macro postgres__in_byte_order(text) -%}{{ text }} collate "C"{%- endmacro %}
