-- One row for each loan: whether it defaulted within 12 months of disbursement, and when that could be known for sure.
with loans as (
  select
    loan_id,
    uscc,
    decided_at,
    disbursed_on
  from {{ ref('stg_bank_loan') }}
  where known_until is null
),

-- Any state of an instalment counts, also one that was superseded when the instalment was paid after all.
states as (
  select
    loan_id,
    event_time,
    case
      when days_past_due >= 90 or five_level_class in ('substandard', 'doubtful', 'loss') then 1
      else 0
    end as is_default
  from {{ ref('stg_bank_repayment') }}
),

worst as (
  select
    l.loan_id,
    max(s.is_default) as defaulted
  from loans as l
  inner join states as s
    on
      l.loan_id = s.loan_id
      and s.event_time < {{ months_after('l.disbursed_on', 12) }}
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
left join worst as w on l.loan_id = w.loan_id
