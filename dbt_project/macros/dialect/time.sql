{# Arithmetic with time, the same on DuckDB, PostgreSQL and Spark. #}

{% macro months_before(moment, months) -%}{{ return(adapter.dispatch("months_before")(moment, months)) }}{%- endmacro %}
{% macro default__months_before(moment, months) -%}({{ moment }} - interval '{{ months }}' month){%- endmacro %}
{% macro postgres__months_before(moment, months) -%}({{ moment }} - interval '{{ months }} months'){%- endmacro %}

{% macro days_after(moment, days) -%}{{ return(adapter.dispatch("days_after")(moment, days)) }}{%- endmacro %}
{% macro default__days_after(moment, days) -%}({{ moment }} + interval '{{ days }}' day){%- endmacro %}
{% macro postgres__days_after(moment, days) -%}({{ moment }} + interval '{{ days }} days'){%- endmacro %}

{% macro days_before(moment, days) -%}{{ days_after(moment, "-" ~ days) }}{%- endmacro %}

{# Whole days from one moment to a later one. #}
{% macro days_between(earlier, later) -%}{{ return(adapter.dispatch("days_between")(earlier, later)) }}{%- endmacro %}
{% macro default__days_between(earlier, later) -%}date_diff('day', cast({{ earlier }} as date), cast({{ later }} as date)){%- endmacro %}
{% macro postgres__days_between(earlier, later) -%}(cast({{ later }} as date) - cast({{ earlier }} as date)){%- endmacro %}
{% macro spark__days_between(earlier, later) -%}datediff(cast({{ later }} as date), cast({{ earlier }} as date)){%- endmacro %}

{# An axis to fit trends on. #}
{% macro days_since_epoch(moment) -%}{{ days_between("cast('1970-01-01' as date)", moment) }}{%- endmacro %}
{% macro days_in_month() -%}30.4375{%- endmacro %}

{# A relation `(month_start)` of the first days of the months between two moments. #}
{% macro month_starts(first, last) -%}{{ return(adapter.dispatch("month_starts")(first, last)) }}{%- endmacro %}
{% macro default__month_starts(first, last) -%}
  (select unnest(generate_series(date_trunc('month', {{ first }}), {{ last }}, interval 1 month)) as month_start)
{%- endmacro %}
{% macro postgres__month_starts(first, last) -%}
  (select generate_series(date_trunc('month', {{ first }}), {{ last }}, interval '1 month') as month_start)
{%- endmacro %}
{% macro spark__month_starts(first, last) -%}
  (
    select explode(sequence(date_trunc('month', span.beginning), {{ last }}, interval 1 month)) as month_start
    from (select {{ first }} as beginning) as span
  )
{%- endmacro %}

{% macro months_after(moment, months) -%}{{ return(adapter.dispatch("months_after")(moment, months)) }}{%- endmacro %}
{% macro default__months_after(moment, months) -%}(cast({{ moment }} as timestamp) + interval '{{ months }}' month){%- endmacro %}
{% macro postgres__months_after(moment, months) -%}(cast({{ moment }} as timestamp) + interval '{{ months }} months'){%- endmacro %}

{# Calendar months from that of one moment to that of a later one. #}
{% macro calendar_months_between(earlier, later) -%}
  cast(
    (extract(year from {{ later }}) - extract(year from {{ earlier }})) * 12
    + extract(month from {{ later }}) - extract(month from {{ earlier }})
    as integer)
{%- endmacro %}
