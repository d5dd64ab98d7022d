"""A workspace that uses every kind of thing that may be declared, as text by path."""

from __future__ import annotations

WORKSPACE = """\
name: full
title: {zh: 全, en: full}
entity: {name: enterprise, key: code, label: {zh: 企业, en: enterprise}, format: text, pattern: "^C[0-9]+$"}
dimensions: {tax: {zh: 税务, en: tax}, bank: {zh: 银行, en: bank}}
labels: {source: outcomes, column: outcome, positive: bad, decision_time: decided_on, known_at: closed_on}
split: {kind: time, test_share: 0.3, folds: 5, seed: 1}
ingest: {tolerance: 0.02}
governance:
  consent: {mode: not_required, uncovered: no_data, reason: {zh: 公开, en: public}}
  audit: {durability: soon, sync_milliseconds: 50}
feature_grid: none
portrait: {peers: [{source: output_invoices, feature: status_last, prefix: 1}], fewest: 5}
simulated: false
"""

OUTCOMES = """\
apiVersion: v3.1.0
kind: DataContract
id: urn:full:outcomes
name: outcomes
version: 1.0.0
status: draft
domain: bank
schema:
  - name: outcomes
    properties:
      - {name: code, logicalType: string, primaryKey: true, classification: internal}
      - {name: outcome, logicalType: string, classification: internal}
      - {name: decided_on, logicalType: date, classification: internal}
      - {name: closed_on, logicalType: date, classification: internal}
customProperties:
  - {property: pull, value: {connector: file_drop, options: {path: outcomes.csv}}}
"""

OUTPUT_INVOICES = """\
apiVersion: v3.1.0
kind: DataContract
id: urn:full:output_invoices
name: output_invoices
version: 1.0.0
status: active
domain: tax
description: {purpose: what is sold, limitations: none known}
team: {name: tax_office}
slaProperties:
  - {property: frequency, value: 1, unit: d, schedule: "@daily"}
  - {property: latency, value: 3, unit: d}
  - {property: retention, value: 5, unit: y}
schema:
  - name: output_invoices
    businessName: 发票
    description: invoices
    physicalType: table
    dataGranularityDescription: an invoice
    quality:
      - {name: rows, metric: rowCount, mustBeGreaterOrEqualTo: 1}
    properties:
      - {name: number, logicalType: string, primaryKey: true, classification: internal}
      - name: code
        businessName: 代码
        physicalName: seller
        logicalType: string
        classification: internal
        logicalTypeOptions: {pattern: "^C[0-9]+$"}
      - {name: buyer, logicalType: string, classification: internal}
      - name: amount
        logicalType: number
        physicalType: DECIMAL(18,2)
        classification: confidential
        logicalTypeOptions: {minimum: 0}
        quality:
          - {name: not_huge, metric: invalidValues, arguments: {maximum: 1000000}, severity: warning, mustBeLessThan: 5, unit: percent}
          - {name: whole, type: custom, engine: sql, implementation: amount > 0, severity: error, description: positive}
        customProperties: [{property: unit, value: yuan}, {property: tolerance, value: 0.1}]
      - {name: status, logicalType: string, classification: internal, enum: [{value: valid, label: in force}, {value: void}]}
      - {name: issued_on, logicalType: date, classification: internal, customProperties: [{property: dateFormat, value: "%Y/%m/%d"}]}
customProperties:
  - {property: legalBasis, value: consent}
  - {property: purposes, value: [credit_decision, model_development]}
  - {property: consent, value: required}
  - {property: time, value: {eventTime: issued_on, lagDays: 3}}
  - {property: edges, value: {from: code, to: buyer, directed: true}}
  - {property: pull, value: {connector: http_exchange, options: {path: tax/v1/invoices, token_secret: tax_token}}}
  - {property: subModel, value: {enabled: true, label: {zh: 发票, en: invoices}, absence: no_data}}
  - property: features
    value:
      - name: sold_amount_12m_sum
        label: {zh: 销售, en: sales}
        aggregation: sum
        column: amount
        window_months: 12
        where: {amount: {gt: 0}, status: [valid]}
        unit: yuan
        risk: decreasing
        adverse: {zh: 小, en: small}
        favourable: {zh: 大, en: large}
      - {name: buyers, label: {zh: 购方, en: buyers}, aggregation: degree, direction: out, window_days: 90}
      - name: buyers_sell
        label: {zh: 购方销售, en: sales of buyers}
        aggregation: neighbour_share
        direction: out
        neighbour:
          source: output_invoices
          feature: sold_amount_12m_sum
          where: {gt: 10}
      - {name: status_last, label: {zh: 状态, en: status}, aggregation: last, column: status, kind: category}
"""

EVERYTHING = {
    "workspace.yaml": WORKSPACE,
    "sources/outcomes/contract.yaml": OUTCOMES,
    "sources/output_invoices/contract.yaml": OUTPUT_INVOICES,
}
