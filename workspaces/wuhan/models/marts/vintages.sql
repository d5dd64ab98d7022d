-- For the loans of each month of disbursement: the share that had been 30 or 90 days past due, or in default, by each
-- month on book that all of them have completed.
with loans as (
  select
    loan_id,
    amount,
    cast(date_trunc('month', disbursed_on) as date) as disbursed_month
  from {{ ref('stg_bank_loan') }}
  where known_from <= {{ as_of() }} and (known_until is null or known_until > {{ as_of() }})
),

firsts as (
  select
    loan_id,
    min(case when is_30_past_due = 1 then month_on_book end) as first_30,
    min(case when is_90_past_due = 1 then month_on_book end) as first_90,
    min(case when is_default = 1 then month_on_book end) as first_default
  from {{ ref('loan_performance') }}
  group by loan_id
),

months as (
  select starts.month_start
  from {{ month_starts("(select min(cast(disbursed_month as timestamp)) from loans)", as_of()) }} as starts
),

-- A calendar month is complete when the next one has begun.
observed as (
  select
    l.loan_id,
    l.amount,
    l.disbursed_month,
    {{ calendar_months_between('l.disbursed_month', 'm.month_start') }} - 1 as month_on_book
  from loans as l
  inner join months as m on l.disbursed_month < m.month_start
)

select
  o.disbursed_month,
  o.month_on_book,
  count(*) as loan_count,
  cast(sum(o.amount) as decimal(28, 2)) as amount,
  cast(count(case when f.first_30 <= o.month_on_book then 1 end) as {{ float_type() }}) / count(*) as rate_30_past_due,
  cast(count(case when f.first_90 <= o.month_on_book then 1 end) as {{ float_type() }}) / count(*) as rate_90_past_due,
  cast(count(case when f.first_default <= o.month_on_book then 1 end) as {{ float_type() }}) / count(*) as rate_default
from observed as o
left join firsts as f on o.loan_id = f.loan_id
group by o.disbursed_month, o.month_on_book
