{#
  Rows whose combination of columns occurs more than once. Where `of`, the model, carries on from the build before, only
  rows are looked at that have the columns `by` in common with a row of `changed`.
#}
{% test unique_together(model, columns, of="", changed="", by=[]) %}
select {{ columns | join(", ") }}, count(*) as occurrences
from {{ model }} as kept
{%- if changed and carries_on(of) %}
where exists (
  select 1
  from {{ changed }} as changed
  where true {%- for column in by %} and changed.{{ column }} = kept.{{ column }} {%- endfor %}
)
{%- endif %}
group by {{ columns | join(", ") }}
having count(*) > 1
{% endtest %}
