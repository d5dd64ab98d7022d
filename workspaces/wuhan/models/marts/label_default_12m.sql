-- Outcomes of the loans whose 12 months are over; a loan still running is no "good" one. A default is known earlier
-- than that none came, but counts from the same day: else the newest outcomes would be defaults only.
select
  uscc,
  decided_at as decision_time,
  max(default_12m) as label,
  max(performance_known_at) as label_known_at
from {{ ref('int_loan_performance') }}
where performance_known_at <= {{ as_of() }}
group by uscc, decided_at
