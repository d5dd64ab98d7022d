{#
  One macro for each aggregation that a contract may declare. `column` is an SQL expression over the record,
  `window` the length of the window that ends at as_of (none: all that is known), `chosen` a condition on records.
#}

{# When a window begins that ends at `moment`: it is "12 months" or "30 days" long. #}
{% macro window_start(moment, window) -%}
  {%- set length, unit = window.split(" ") -%}
  {{ months_before(moment, length) if unit == "months" else days_before(moment, length) }}
{%- endmacro %}

{% macro conditions(window, chosen) -%}
  {%- set parts = [] -%}
  {%- if window is not none -%}{%- do parts.append("event_time > " ~ window_start("as_of", window)) -%}{%- endif -%}
  {%- if chosen is not none -%}{%- do parts.append(chosen) -%}{%- endif -%}
  {{ parts | join(" and ") }}
{%- endmacro %}

{% macro within(window, chosen) -%}
  {%- set condition = conditions(window, chosen) -%}
  {%- if condition %} filter (where {{ condition }}){% endif -%}
{%- endmacro %}

{% macro feature_count(column, window, chosen) -%}count(*){{ within(window, chosen) }}{%- endmacro %}

{% macro feature_distinct(column, window, chosen) -%}count(distinct {{ column }}){{ within(window, chosen) }}{%- endmacro %}

{% macro feature_active_months(column, window, chosen) -%}
  count(distinct date_trunc('month', event_time)){{ within(window, chosen) }}
{%- endmacro %}

{% macro feature_sum(column, window, chosen) -%}sum({{ column }}){{ within(window, chosen) }}{%- endmacro %}

{% macro feature_min(column, window, chosen) -%}min({{ column }}){{ within(window, chosen) }}{%- endmacro %}

{% macro feature_max(column, window, chosen) -%}max({{ column }}){{ within(window, chosen) }}{%- endmacro %}

{# Sum by count: the sum of decimals is exact, and so the mean is the same on every engine; Spark's avg rounds. #}
{% macro mean_of(value, window, chosen) -%}
  cast(sum({{ value }}){{ within(window, chosen) }} as {{ float_type() }}) / nullif(count({{ value }}){{ within(window, chosen) }}, 0)
{%- endmacro %}

{% macro feature_mean(column, window, chosen) -%}{{ mean_of(column, window, chosen) }}{%- endmacro %}

{% macro feature_std(column, window, chosen) -%}{{ sample_deviation(column, window, chosen) }}{%- endmacro %}

{# The last value that is not null, by the time it was true and, for equal times, the time it became known. #}
{% macro feature_last(column, window, chosen) -%}{{ last_known(column, window, chosen) }}{%- endmacro %}

{#
  Slope per month of a straight line through the values, as a share of their mean size; null where all fall on one day.
  Of exact numbers, `exact` the type that holds their products with days, it follows from exact sums: sums need no order,
  and to put the records of each entity in order costs more than all the rest.
#}
{% macro feature_trend(column, window, chosen, exact=none) -%}
  {{ slope_of_sums(column, window, chosen, exact) if exact is not none else slope_in_order(column, window, chosen) }}
  / nullif({{ mean_of("abs(" ~ column ~ ")", window, chosen) }}, 0)
{%- endmacro %}

{% macro slope_of_sums(column, window, chosen, exact) -%}
  {%- set there = column ~ " is not null" ~ (" and " ~ chosen if chosen is not none else "") -%}
  {%- set day, value = "cast(" ~ days_since_epoch("event_time") ~ " as bigint)", "cast(" ~ column ~ " as " ~ exact ~ ")" -%}
  {%- set of = within(window, there) -%}
  {{ days_in_month() }} * cast(
    count(*){{ of }} * sum({{ day }} * {{ value }}){{ of }} - sum({{ day }}){{ of }} * sum({{ value }}){{ of }}
    as {{ float_type() }}
  ) / nullif(cast(
    count(*){{ of }} * sum({{ day }} * {{ day }}){{ of }} - sum({{ day }}){{ of }} * sum({{ day }}){{ of }}
    as {{ float_type() }}
  ), 0)
{%- endmacro %}

{% macro slope_in_order(column, window, chosen) -%}
  {%- set month = "cast(" ~ days_since_epoch("event_time") ~ " as " ~ float_type() ~ ") / " ~ days_in_month() -%}
  {%- set points = "cast(" ~ column ~ " as " ~ float_type() ~ "), " ~ month -%}
  {%- set pair = "(" ~ in_order(points, "event_time, " ~ column) ~ ")" ~ within(window, chosen) -%}
  case when regr_sxx{{ pair }} > 0 then regr_slope{{ pair }} end
{%- endmacro %}

{# Share of the sum (of the count where there is no column) in the window that satisfies the condition. #}
{% macro feature_share(column, window, chosen) -%}
  {%- set part = "count(*)" if column is none else "sum(" ~ column ~ ")" -%}
  cast({{ part }}{{ within(window, chosen) }} as {{ float_type() }}) / nullif({{ part }}{{ within(window, none) }}, 0)
{%- endmacro %}

{# Beside each record: the sum of `weight` over the entity's records with the same value of `column`. A window, because
   a share of the largest group needs the groups before their maximum; `case`, because Spark filters no window. #}
{% macro group_size(key, column, weight, window, chosen) -%}
  {%- set there = column ~ " is not null" ~ (" and " ~ chosen if chosen is not none else "") -%}
  sum(case when {{ conditions(window, there) }} then {{ weight }} end) over (partition by {{ key }}, as_of, {{ column }})
{%- endmacro %}

{# Share of the largest group in the sum of the groups that are positive: returned goods can make one negative. #}
{% macro feature_concentration(group_size, weight, window, chosen) -%}
  {%- set positive = group_size ~ " > 0" ~ (" and " ~ chosen if chosen is not none else "") -%}
  cast(max({{ group_size }}){{ within(window, chosen) }} as {{ float_type() }})
  / nullif(cast(sum({{ weight }}){{ within(window, positive) }} as {{ float_type() }}), 0)
{%- endmacro %}

{% macro feature_recency_days(column, window, chosen) -%}
  {{ days_between("max(event_time)" ~ within(window, chosen), "as_of") }}
{%- endmacro %}

{% macro feature_age_days(column, window, chosen) -%}
  {{ days_between(last_known(column, window, chosen), "as_of") }}
{%- endmacro %}

{# Distinct parties at the other ends of the edges. #}
{% macro feature_degree(column, window, chosen) -%}count(distinct neighbour){{ within(window, chosen) }}{%- endmacro %}

{# Beside each neighbour: 1 where an edge to it is in the window and satisfies the condition. #}
{% macro has_edge(window, chosen) -%}
  max(case when {{ conditions(window, chosen) or "true" }} then 1 else 0 end)
{%- endmacro %}

{#
  Over the neighbours with an edge: `value` is what is taken of each, null where it is not known of that neighbour,
  `linked` the column of has_edge. The order is fixed because sums of floating-point numbers depend on it.
#}
{% macro over_neighbours(function, value, linked) -%}
  {{ function }}({{ in_order("cast(" ~ value ~ " as " ~ float_type() ~ ")", "neighbour") }}) filter (where {{ linked }} = 1)
{%- endmacro %}

{% macro feature_neighbour_mean(value, linked) -%}{{ over_neighbours("avg", value, linked) }}{%- endmacro %}

{% macro feature_neighbour_sum(value, linked) -%}{{ over_neighbours("sum", value, linked) }}{%- endmacro %}

{% macro feature_neighbour_min(value, linked) -%}min({{ value }}) filter (where {{ linked }} = 1){%- endmacro %}

{% macro feature_neighbour_max(value, linked) -%}max({{ value }}) filter (where {{ linked }} = 1){%- endmacro %}

{# Share of the neighbours of which the value is known that satisfy the condition. #}
{% macro feature_neighbour_share(value, linked, chosen) -%}
  {{ over_neighbours("avg", "case when " ~ value ~ " is not null then case when " ~ chosen ~ " then 1 else 0 end end", linked) }}
{%- endmacro %}
