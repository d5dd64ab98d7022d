-- Share of customers lost at each annual rate, by rating: the table that prices are chosen from.
select
  annual_rate,
  loss_a,
  loss_b,
  loss_c
from {{ ref('stg_rate_vs_customer_loss') }}
where known_until is null
