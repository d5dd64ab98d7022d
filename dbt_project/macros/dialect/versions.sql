{# How staging is kept: only records whose keys have newly landed are written, where the engine can replace rows. #}
{% macro versions_materialization() -%}{{ return(adapter.dispatch("versions_materialization")()) }}{%- endmacro %}
{% macro default__versions_materialization() -%}{{ return("incremental") }}{%- endmacro %}
{# Parquet tables of Spark cannot replace rows: they are written anew. #}
{% macro spark__versions_materialization() -%}{{ return("table") }}{%- endmacro %}
