{#
  The value of the record that is last by event_time and, for equal times, by known_from, of those in the window that
  satisfy a condition; nulls are passed over. The largest value decides between records of the same times.
#}
{% macro last_known(value, window, chosen) -%}
  {{ return(adapter.dispatch("last_known")(value, window, chosen)) }}
{%- endmacro %}
{% macro default__last_known(value, window, chosen) -%}
  arg_max({{ value }}, row(event_time, known_from, {{ value }})){{ within(window, chosen) }}
{%- endmacro %}
{% macro postgres__last_known(value, window, chosen) -%}
  (array_agg({{ value }} order by event_time desc, known_from desc, {{ value }} desc)
  {{- within(window, value ~ " is not null" ~ (" and " ~ chosen if chosen is not none else "")) }})[1]
{%- endmacro %}
{# max_by takes nulls as values: the order of those is null, and such records are passed over. #}
{% macro spark__last_known(value, window, chosen) -%}
  max_by({{ value }}, case when {{ value }} is not null then struct(event_time, known_from, {{ value }}) end)
  {{- within(window, chosen) }}
{%- endmacro %}

{# Arguments of an aggregate over floating-point numbers, in a fixed order: their sum depends on it, and the same data
   must give the same features to the last bit. Spark has no such clause; its order is that of the shuffle. #}
{% macro in_order(arguments, keys) -%}{{ return(adapter.dispatch("in_order")(arguments, keys)) }}{%- endmacro %}
{% macro default__in_order(arguments, keys) -%}{{ arguments }} order by {{ keys }}{%- endmacro %}
{% macro spark__in_order(arguments, keys) -%}{{ arguments }}{%- endmacro %}

{# Standard deviation of a sample, summed up in the order of the values. DuckDB sorts lists faster than rows. #}
{% macro sample_deviation(value, window, chosen) -%}
  {{ return(adapter.dispatch("sample_deviation")(value, window, chosen)) }}
{%- endmacro %}
{% macro default__sample_deviation(value, window, chosen) -%}
  stddev_samp({{ in_order(value, value) }}){{ within(window, chosen) }}
{%- endmacro %}
{% macro duckdb__sample_deviation(value, window, chosen) -%}
  list_aggregate(list_sort(list({{ value }}){{ within(window, chosen) }}), 'stddev_samp')
{%- endmacro %}
