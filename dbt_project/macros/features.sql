{#
  One macro for each aggregation that a contract may declare. `column` is an SQL expression over the record,
  `months` the length of the window that ends at as_of (none: all that is known), `chosen` a condition on records.
#}

{% macro within(months, chosen) -%}
  {%- set parts = [] -%}
  {%- if months is not none -%}{%- do parts.append("event_time > " ~ months_before("as_of", months)) -%}{%- endif -%}
  {%- if chosen is not none -%}{%- do parts.append(chosen) -%}{%- endif -%}
  {%- if parts %} filter (where {{ parts | join(" and ") }}){% endif -%}
{%- endmacro %}

{% macro feature_count(column, months, chosen) -%}count(*){{ within(months, chosen) }}{%- endmacro %}

{% macro feature_distinct(column, months, chosen) -%}count(distinct {{ column }}){{ within(months, chosen) }}{%- endmacro %}

{% macro feature_sum(column, months, chosen) -%}sum({{ column }}){{ within(months, chosen) }}{%- endmacro %}

{% macro feature_min(column, months, chosen) -%}min({{ column }}){{ within(months, chosen) }}{%- endmacro %}

{% macro feature_max(column, months, chosen) -%}max({{ column }}){{ within(months, chosen) }}{%- endmacro %}

{% macro feature_mean(column, months, chosen) -%}avg({{ column }}){{ within(months, chosen) }}{%- endmacro %}

{% macro feature_std(column, months, chosen) -%}stddev_samp({{ column }}){{ within(months, chosen) }}{%- endmacro %}

{# The last value that is not null, by the time it was true and, for equal times, the time it became known. #}
{% macro feature_last(column, months, chosen) -%}{{ last_known(column) }}{{ within(months, chosen) }}{%- endmacro %}

{# Slope per month of a straight line through the values, as a share of their mean size; null where all fall on one day. #}
{% macro feature_trend(column, months, chosen) -%}
  {%- set pair = "(cast(" ~ column ~ " as double precision), " ~ months_since_epoch("event_time") ~ ")" ~ within(months, chosen) -%}
  case when regr_sxx{{ pair }} > 0
    then regr_slope{{ pair }} / nullif(avg(abs({{ column }})){{ within(months, chosen) }}, 0)
  end
{%- endmacro %}

{# Share of the sum (of the count where there is no column) in the window that satisfies the condition. #}
{% macro feature_share(column, months, chosen) -%}
  {%- set part = "count(*)" if column is none else "sum(" ~ column ~ ")" -%}
  cast({{ part }}{{ within(months, chosen) }} as double precision) / nullif({{ part }}{{ within(months, none) }}, 0)
{%- endmacro %}

{% macro feature_recency_days(column, months, chosen) -%}
  {{ days_between("max(event_time)" ~ within(months, chosen), "as_of") }}
{%- endmacro %}

{% macro feature_age_days(column, months, chosen) -%}
  {{ days_between(last_known(column) ~ within(months, chosen), "as_of") }}
{%- endmacro %}
