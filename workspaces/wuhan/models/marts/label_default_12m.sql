-- Outcomes of the loans whose 12 months are over; a loan still running is no "good" one.
select
  uscc,
  decided_at as decision_time,
  max(default_12m) as label
from {{ ref('int_loan_performance') }}
where performance_known_at <= {{ as_of() }}
group by uscc, decided_at
