"""Where a person finds all that runs: one list, printed by ``demo`` and ``up``, shown as the site's first page."""

from __future__ import annotations

from dataclasses import dataclass

from jinja2 import Environment, PackageLoader, StrictUndefined

from credit301 import console
from credit301.contracts.model import Text
from credit301.files import replacing
from credit301.stack import airflow_env
from credit301.workspace import Workspace


@dataclass(frozen=True)
class Place:
    """One address, and what a person does there."""

    name: Text
    address: str
    purpose: Text


def places(workspace: Workspace) -> tuple[Place, ...]:
    """Every page of the platform, in the order of the road."""
    settings = workspace.settings
    site = f"http://{settings.host}:{settings.site_port}"
    serving = f"http://{settings.host}:{settings.serving_port}"
    return (
        Place(Text(zh="首页", en="Start page"), f"{site}/", Text(zh="全部地址", en="all addresses")),
        Place(
            Text(zh="调度", en="Airflow"),
            airflow_env.address(settings),
            Text(zh="查看拉取、构建、训练与晋级", en="watch pulls, builds, training and promotion"),
        ),
        Place(
            Text(zh="数据目录", en="Catalogue"),
            f"{site}/catalogue/",
            Text(zh="数据源、字典、契约、时效与质量", en="sources, dictionary, contracts, freshness and quality"),
        ),
        Place(
            Text(zh="数据质量", en="Data docs"),
            f"{site}/data_docs/",
            Text(zh="查看校验结果", en="what was checked, and how it went"),
        ),
        Place(
            Text(zh="隔离区", en="Quarantine"),
            f"{site}/data_docs/quarantine.html",
            Text(zh="被拒绝的行及原因", en="rows that were refused, and why"),
        ),
        Place(
            Text(zh="数仓文档", en="dbt docs"),
            f"{site}/dbt_docs/",
            Text(zh="模型、列与血缘", en="models, columns and lineage"),
        ),
        Place(
            Text(zh="列级血缘", en="Column lineage"),
            f"{site}/lineage.html",
            Text(zh="从源列到特征、子模型与原因", en="from a source column to features, sub-models and reasons"),
        ),
        Place(
            Text(zh="模型", en="Models"),
            f"{site}/models/",
            Text(zh="模型卡、监测、比较、批准记录", en="cards, monitoring, comparisons, who approved what"),
        ),
        Place(
            Text(zh="实验与模型", en="MLflow"),
            settings.mlflow_address(),
            Text(zh="比较训练、移动 champion 别名", en="compare runs, move the alias champion"),
        ),
        Place(
            Text(zh="决策接口", en="Decision API"),
            f"{serving}/docs",
            Text(zh="查看并试用接口", en="read and try the API"),
        ),
    )


def show(workspace: Workspace) -> None:
    """Print the addresses, and where Airflow's password is."""
    found = {f"{place.name.zh} {place.name.en}": place.address for place in places(workspace)}
    passwords = f"{airflow_env.USER}, {airflow_env.passwords_file(workspace.settings)}"
    console.show_mapping({**found, "Airflow 用户与密码文件 user and password file": passwords})


def write(workspace: Workspace) -> None:
    """Write the site's first page."""
    environment = Environment(
        loader=PackageLoader("credit301.stack"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    page = environment.get_template("index.html.j2").render(title=workspace.title, places=places(workspace)[1:])
    with replacing(workspace.paths.site / "index.html") as temporary:
        temporary.write_text(page, encoding="utf-8")
