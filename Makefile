# Everything a person or a pipeline does with the project. `make` lists the targets. `make` 列出全部目标。
SHELL := bash
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

BIN := .venv/bin
PROFILE ?= $(or $(CREDIT301_PROFILE),embedded)
ENV_FILE ?= .env
ENTERPRISES ?= 3000
TWO_WORKERS := -n 2 --dist loadfile --no-loadscope-reorder
export CREDIT301_PROFILE := $(PROFILE)
# A dozen processes and two test workers import the same modules: they are compiled once.
unexport PYTHONDONTWRITEBYTECODE

# Outside the embedded profile the addresses and passwords come from the environment file.
ifneq ($(PROFILE),embedded)
WITH_ENV := $(BIN)/dotenv -f $(ENV_FILE) run --
endif
CREDIT301 := $(WITH_ENV) $(BIN)/credit301

.PHONY: help setup demo up down status test test-fast bench faults lint audit format docs lock newcomer-safe clean

help: ## list the targets 列出目标
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

setup: ## make .venv from the locks (the other targets do it by themselves) 安装环境
	@bash scripts/bootstrap.sh

demo: setup ## simulate a city, run the whole road, leave it running (ENTERPRISES=3000) 完整演示
	@$(CREDIT301) demo --enterprises $(ENTERPRISES)

up: setup ## start every service and wait until it is healthy (PROFILE=production ENV_FILE=.env) 启动服务
	@$(CREDIT301) up

down: setup ## stop the services that up or demo started 停止服务
	@$(CREDIT301) down

status: setup ## show the services with their state, process and address 查看状态
	@$(CREDIT301) status

test: setup ## run all tests 全部测试
	@$(BIN)/pytest $(TWO_WORKERS)

test-fast: setup ## run the tests that start no server 快速测试
	@$(BIN)/pytest $(TWO_WORKERS) -m "not server and not browser"

bench: setup ## measure beside peers and floors (ONLY=B1,B2 a few, ONLY=B10 a fresh clone, SIZES=10000 of B5) 性能基准
	@$(BIN)/python -m benchmarks $(if $(ONLY),--only $(ONLY)) $(if $(SIZES),--sizes $(SIZES))

faults: setup ## many apply while servers are killed: one decision and one payment each (APPLICATIONS=10000) 故障注入
	@CREDIT301_FAULT_APPLICATIONS=$(or $(APPLICATIONS),10000) $(BIN)/pytest -s -q tests/e2e/test_killed_servers.py

lint: setup ## check style, types, imports between packages, SQL 静态检查
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/sqlfluff lint --disable-progress-bar dbt_project workspaces

audit: setup ## look every locked package up among known vulnerabilities 依赖漏洞检查
	@$(BIN)/python scripts/audit.py

format: setup ## format the code 格式化
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .
	@$(BIN)/sqlfluff fix --disable-progress-bar --quiet dbt_project workspaces

docs: setup ## build the documentation's pages into site/ 构建文档
	@$(BIN)/mkdocs build --strict

LOCK := $(BIN)/uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate
lock: setup ## resolve the locks anew within pyproject.toml's floors 更新锁文件
	@$(LOCK) --extra platform --extra dev --upgrade --output-file locks/dev.txt
	@$(LOCK) --extra platform --constraint locks/dev.txt --output-file locks/platform.txt
	@$(LOCK) --constraint locks/dev.txt --output-file locks/serving.txt
	@$(LOCK) --extra platform --extra spark --constraint locks/dev.txt --output-file locks/spark.txt

newcomer-safe: ## demo of a clean clone on free ports, beside whatever runs here 以干净克隆验证演示
	@bash scripts/newcomer.sh

clean: ## stop the services, remove what runs and tools wrote; .venv stays 清理
	@if [ -x $(BIN)/credit301 ]; then $(BIN)/credit301 down; fi
	@rm -rf var .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache site
	@find . -name __pycache__ -type d -not -path './.venv/*' -prune -exec rm -rf {} +
