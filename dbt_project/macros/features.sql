{#
  One macro for each aggregation that a contract may declare. `column` is an SQL expression over the record,
  `months` the length of the window that ends at as_of (none: all that is known), `chosen` a condition on records.
#}

{% macro conditions(months, chosen) -%}
  {%- set parts = [] -%}
  {%- if months is not none -%}{%- do parts.append("event_time > " ~ months_before("as_of", months)) -%}{%- endif -%}
  {%- if chosen is not none -%}{%- do parts.append(chosen) -%}{%- endif -%}
  {{ parts | join(" and ") }}
{%- endmacro %}

{% macro within(months, chosen) -%}
  {%- set condition = conditions(months, chosen) -%}
  {%- if condition %} filter (where {{ condition }}){% endif -%}
{%- endmacro %}

{% macro feature_count(column, months, chosen) -%}count(*){{ within(months, chosen) }}{%- endmacro %}

{% macro feature_distinct(column, months, chosen) -%}count(distinct {{ column }}){{ within(months, chosen) }}{%- endmacro %}

{% macro feature_active_months(column, months, chosen) -%}
  count(distinct date_trunc('month', event_time)){{ within(months, chosen) }}
{%- endmacro %}

{% macro feature_sum(column, months, chosen) -%}sum({{ column }}){{ within(months, chosen) }}{%- endmacro %}

{% macro feature_min(column, months, chosen) -%}min({{ column }}){{ within(months, chosen) }}{%- endmacro %}

{% macro feature_max(column, months, chosen) -%}max({{ column }}){{ within(months, chosen) }}{%- endmacro %}

{% macro feature_mean(column, months, chosen) -%}avg({{ column }}){{ within(months, chosen) }}{%- endmacro %}

{% macro feature_std(column, months, chosen) -%}stddev_samp({{ in_order(column, column) }}){{ within(months, chosen) }}{%- endmacro %}

{# The last value that is not null, by the time it was true and, for equal times, the time it became known. #}
{% macro feature_last(column, months, chosen) -%}{{ last_known(column) }}{{ within(months, chosen) }}{%- endmacro %}

{# Slope per month of a straight line through the values, as a share of their mean size; null where all fall on one day. #}
{% macro feature_trend(column, months, chosen) -%}
  {%- set points = "cast(" ~ column ~ " as double precision), " ~ months_since_epoch("event_time") -%}
  {%- set pair = "(" ~ in_order(points, "event_time, " ~ column) ~ ")" ~ within(months, chosen) -%}
  case when regr_sxx{{ pair }} > 0
    then regr_slope{{ pair }} / nullif(avg(abs({{ column }})){{ within(months, chosen) }}, 0)
  end
{%- endmacro %}

{# Share of the sum (of the count where there is no column) in the window that satisfies the condition. #}
{% macro feature_share(column, months, chosen) -%}
  {%- set part = "count(*)" if column is none else "sum(" ~ column ~ ")" -%}
  cast({{ part }}{{ within(months, chosen) }} as double precision) / nullif({{ part }}{{ within(months, none) }}, 0)
{%- endmacro %}

{# Beside each record: the sum of `weight` over the entity's records with the same value of `column`. A window, because
   a share of the largest group needs the groups before their maximum; `case`, because Spark filters no window. #}
{% macro group_size(key, column, weight, months, chosen) -%}
  {%- set there = column ~ " is not null" ~ (" and " ~ chosen if chosen is not none else "") -%}
  sum(case when {{ conditions(months, there) }} then {{ weight }} end) over (partition by {{ key }}, as_of, {{ column }})
{%- endmacro %}

{# Share of the largest group in the sum of the groups that are positive: returned goods can make one negative. #}
{% macro feature_concentration(group_size, weight, months, chosen) -%}
  {%- set positive = group_size ~ " > 0" ~ (" and " ~ chosen if chosen is not none else "") -%}
  cast(max({{ group_size }}){{ within(months, chosen) }} as double precision)
  / nullif(cast(sum({{ weight }}){{ within(months, positive) }} as double precision), 0)
{%- endmacro %}

{% macro feature_recency_days(column, months, chosen) -%}
  {{ days_between("max(event_time)" ~ within(months, chosen), "as_of") }}
{%- endmacro %}

{% macro feature_age_days(column, months, chosen) -%}
  {{ days_between(last_known(column) ~ within(months, chosen), "as_of") }}
{%- endmacro %}
