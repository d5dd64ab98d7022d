{# The value of the record that is last by event_time and, for equal times, by known_from; nulls are passed over. #}
{% macro last_known(value) -%}{{ return(adapter.dispatch("last_known")(value)) }}{%- endmacro %}
{% macro default__last_known(value) -%}arg_max({{ value }}, row(event_time, known_from)){%- endmacro %}
{% macro postgres__last_known(value) -%}
  (array_remove(array_agg({{ value }} order by event_time desc, known_from desc), null))[1]
{%- endmacro %}
{% macro spark__last_known(value) -%}max_by({{ value }}, struct(event_time, known_from)){%- endmacro %}

{# Arguments of an aggregate over floating-point numbers, in a fixed order: their sum depends on it, and the same data
   must give the same features to the last bit. Spark has no such clause; its order is that of the shuffle. #}
{% macro in_order(arguments, keys) -%}{{ return(adapter.dispatch("in_order")(arguments, keys)) }}{%- endmacro %}
{% macro default__in_order(arguments, keys) -%}{{ arguments }} order by {{ keys }}{%- endmacro %}
{% macro spark__in_order(arguments, keys) -%}{{ arguments }}{%- endmacro %}
