{#
  A table function for each source, `known_at.<source>(moment)`: the versions of its records that were the latest known
  at that moment. Made by hooks of the run and of each staging model.
#}
{% macro known_at_schema() -%}create schema if not exists known_at{%- endmacro %}

{% macro known_versions(staging) -%}
  select * from {{ staging }} where known_from <= moment and (known_until is null or known_until > moment)
{%- endmacro %}

{% macro known_at_function(staging, source) -%}
  {{ return(adapter.dispatch("known_at_function")(staging, source)) }}
{%- endmacro %}
{% macro default__known_at_function(staging, source) -%}
  create or replace macro known_at.{{ source }}(moment) as table {{ known_versions(staging) }}
{%- endmacro %}
{% macro postgres__known_at_function(staging, source) -%}
  drop function if exists known_at.{{ source }}(timestamp);
  create function known_at.{{ source }}(moment timestamp) returns setof {{ staging }} language sql stable
  as $$ {{ known_versions(staging) }} $$
{%- endmacro %}
{% macro spark__known_at_function(staging, source) -%}
  create or replace function known_at.{{ source }}(moment timestamp) returns table return {{ known_versions(staging) }}
{%- endmacro %}
