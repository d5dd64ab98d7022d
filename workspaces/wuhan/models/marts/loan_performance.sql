-- How each loan did in each calendar month after that of its disbursement in which a state of an instalment was told.
with loans as (
  select
    loan_id,
    uscc,
    amount,
    disbursed_on
  from {{ ref('stg_bank_loan') }}
  where known_from <= {{ as_of() }} and (known_until is null or known_until > {{ as_of() }})
),

-- Any state of an instalment counts, also one that was superseded when the instalment was paid after all.
states as (
  select
    loan_id,
    event_time,
    days_past_due,
    case
      when days_past_due >= 90 or five_level_class in ('substandard', 'doubtful', 'loss') then 1
      else 0
    end as is_default
  from {{ ref('stg_bank_repayment') }}
  where known_from <= {{ as_of() }}
)

select
  l.loan_id,
  l.uscc,
  l.amount,
  cast(date_trunc('month', l.disbursed_on) as date) as disbursed_month,
  {{ calendar_months_between('l.disbursed_on', 's.event_time') }} as month_on_book,
  count(*) as state_count,
  max(s.days_past_due) as days_past_due_max,
  max(case when s.days_past_due >= 30 then 1 else 0 end) as is_30_past_due,
  max(case when s.days_past_due >= 90 then 1 else 0 end) as is_90_past_due,
  max(s.is_default) as is_default
from loans as l
inner join states as s on l.loan_id = s.loan_id
group by 1, 2, 3, 4, 5
