{#
  A build carries on from the one before: what has not changed stays, moved to the new "now". The build says it in the
  environment, which is read when a statement is run: variables of dbt would have the whole project parsed anew.
#}
{% macro told(name) -%}
  {{ return(env_var("CREDIT301_WAREHOUSE_" ~ name, "") if execute else "") }}
{%- endmacro %}

{# Whether `model` keeps what is there; otherwise it is built from everything. #}
{% macro carries_on(model) -%}
  {{ return(told("BEFORE") != "" and model not in told("ANEW").split(",")) }}
{%- endmacro %}

{# The time that the build before was as of. #}
{% macro before() -%}cast('{{ told("BEFORE") }}' as timestamp){%- endmacro %}

{# Whether this build is as of a later time than the one before. #}
{% macro has_moved() -%}{{ return(told("BEFORE") != told("AS_OF")) }}{%- endmacro %}

{% macro replaced(table, query) -%}
  drop table if exists {{ table }};
  create table {{ table }} as {{ query }}
{%- endmacro %}

{# Before the entities are known: who changed. After that everything may ask `intermediate.changed_entities`. #}
{% macro note_changes() -%}
  {% if told("BEFORE") %}{{ replaced("intermediate.changed_entities", changes()) }}{% endif %}
{%- endmacro %}

{% macro keep_spine(spine, key) -%}
  {% if carries_on(spine.identifier) %}
  {{ replaced("intermediate.feature_spine_before", "select " ~ key ~ ", as_of from " ~ spine) }}
  {% endif %}
{%- endmacro %}

{# What the spine has no more: an entity that is gone, an outcome that was withdrawn. #}
{% macro note_gone(spine, key) -%}
  {% if carries_on(spine.identifier) %}
  {% set gone %}
    select b.{{ key }}, b.as_of
    from intermediate.feature_spine_before as b
    where not exists (
      select 1
      from {{ spine }} as s
      where s.{{ key }} = b.{{ key }} and s.as_of = case when b.as_of = {{ before() }} then {{ as_of() }} else b.as_of end
    )
  {% endset %}
  {{ replaced("intermediate.feature_spine_gone", gone) }}
  {% endif %}
{%- endmacro %}

{#
  A feature mart forgets what is due or gone, and moves everybody's "now" to that of this build: nothing has changed
  but the day counts in `counts`, which grow with the days.
#}
{% macro carry_features_on(mart, key, source, counts) -%}
  {% if carries_on(mart.identifier) %}
  {% set now = "case when as_of = " ~ as_of() ~ " then " ~ before() ~ " else as_of end" %}
  {% if has_moved() %}delete from {{ mart }} where event_timestamp = {{ as_of() }};{% endif %}
  delete from {{ mart }} where exists (
    select 1
    from (
      select {{ key }}, {{ now }} as as_of
      from {{ ref("int_feature_spine") }}
      {#- Whose row is needed at the time of the build before is new: the row that is there at that time is his "now". #}
      where {{ source }}_due {% if has_moved() %}and as_of <> {{ before() }}{% endif %}
      union all
      select {{ key }}, as_of from intermediate.feature_spine_gone
    ) as due
    where due.{{ key }} = {{ mart.identifier }}.{{ key }} and due.as_of = {{ mart.identifier }}.event_timestamp
  );
  {% if has_moved() %}
  update {{ mart }} set
    {% for count in counts %}{{ count }} = {{ count }} + {{ days_between(before(), as_of()) }},{% endfor %}
    event_timestamp = {{ as_of() }},
    created_timestamp = {{ as_of() }}
  where event_timestamp = {{ before() }};
  {% endif %}
  {% endif %}
{%- endmacro %}

{# The history of whoever changed in one of its `sources` is written anew. #}
{% macro forget_history(history, key, sources) -%}
  {% if carries_on(history.identifier) %}
  delete from {{ history }} where exists (
    select 1
    from intermediate.changed_entities as c
    where c.source in ('{{ sources | join("', '") }}') and c.{{ key }} = {{ history.identifier }}.{{ key }}
  )
  {% endif %}
{%- endmacro %}
