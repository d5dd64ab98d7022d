-- One row for each loan: whether it defaulted within 12 months of disbursement, and when that could be known for sure.
with loans as (
  select loan_id, uscc, decided_at, disbursed_on, known_from
  from {{ ref('stg_bank_loan') }}
  where known_until is null
),

-- Any state of an instalment counts, also one that was superseded when the instalment was paid after all.
worst as (
  select
    l.loan_id,
    max(case when r.days_past_due >= 90 or r.five_level_class in ('substandard', 'doubtful', 'loss') then 1 else 0 end) as defaulted
  from loans as l
  inner join {{ ref('stg_bank_repayment') }} as r
    on r.loan_id = l.loan_id
    and r.event_time < {{ months_after('l.disbursed_on', 12) }}
  group by l.loan_id
)

select
  l.loan_id,
  l.uscc,
  l.decided_at,
  l.disbursed_on,
  coalesce(w.defaulted, 0) as default_12m,
  -- The last state of the window is published up to a month after it.
  {{ months_after('l.disbursed_on', 13) }} as performance_known_at
from loans as l
left join worst as w on w.loan_id = l.loan_id
