"""What stands around the package: its image, its workflows, its citation, and what an index shows of it."""

from __future__ import annotations

import fnmatch
import importlib.util
import re
import shlex
import shutil
import subprocess
import threading
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from waiting import until

ROOT = Path(__file__).parents[1]
HOME = "https://git.example/people/cxrlens"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
EXTRAS = PROJECT["project"]["optional-dependencies"]


def module(path: str) -> ModuleType:
    """A file of the repository that belongs to no package."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def load_yaml(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


# -- what an index shows ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def build() -> ModuleType:
    pytest.importorskip("hatchling")
    return module("hatch_build.py")


@pytest.mark.parametrize(
    ("environment", "remote", "expected"),
    [
        ({}, "https://git.example/people/cxrlens.git\n", HOME),
        ({}, "https://user:secret@git.example/people/cxrlens", HOME),
        ({}, "git@git.example:people/cxrlens.git", HOME),
        ({}, "ssh://git@git.example/people/cxrlens", HOME),
        ({}, "", None),
        ({}, "/srv/git/cxrlens.git", None),
        ({}, "../cxrlens", None),
        ({"GITHUB_SERVER_URL": "https://git.example", "GITHUB_REPOSITORY": "people/cxrlens"}, "/elsewhere", HOME),
        ({"CXRLENS_HOME": f"{HOME}/", "GITHUB_SERVER_URL": "https://x", "GITHUB_REPOSITORY": "y/z"}, "", HOME),
    ],
)
def test_the_home_is_that_of_the_repository(
    build: ModuleType, environment: dict[str, str], remote: str, expected: str | None
) -> None:
    assert build.home_of(environment, remote) == expected


def test_links_of_the_readme_hold_elsewhere(build: ModuleType) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    made = build.absolute_links(text, HOME, build.revision_of({}))
    relative = re.findall(r"\]\((?!https?:|#)([^)\s]+)\)", text)
    assert len(relative) > 20
    assert not re.findall(r"\]\((?!https?:|#)([^)\s]+)\)", made)
    assert all((ROOT / link.partition("#")[0]).is_file() for link in relative)
    assert f"![The page of the server]({HOME}/raw/HEAD/docs/serve-page.png)" in made
    assert f"]({HOME}/blob/HEAD/docs/methods.md#where-a-cell-lies)" in made
    assert "](#citation)" in made
    assert made.count("```") == text.count("```")


def test_what_is_no_link_stays(build: ModuleType) -> None:
    fenced = "see [a](b.md)\n```sh\ncall [a](b.md)\n```\n[![badge](c.png)](d.md) [e](https://f) [g](mailto:h)\n"
    made = build.absolute_links(fenced, HOME, build.revision_of({"GITHUB_REF_TYPE": "tag", "GITHUB_REF_NAME": "v1.0"}))
    assert made.splitlines()[:3] == [f"see [a]({HOME}/blob/v1.0/b.md)", "```sh", "call [a](b.md)"]
    assert made.splitlines()[4].endswith("[e](https://f) [g](mailto:h)")


def test_metadata_of_a_known_home_and_of_none(build: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CXRLENS_HOME", "GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "GITHUB_REF_TYPE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(build, "_origin", lambda root: "")
    hook = build.CustomMetadataHook(str(ROOT), {})
    unknown: dict[str, Any] = {}
    with pytest.warns(UserWarning, match="links of the README stay relative.*CXRLENS_HOME"):
        hook.update(unknown)
    assert unknown.keys() == {"readme"}
    assert unknown["readme"]["text"] == (ROOT / "README.md").read_text(encoding="utf-8")
    monkeypatch.setenv("CXRLENS_HOME", HOME)
    known: dict[str, Any] = {}
    hook.update(known)
    assert known["urls"]["Issues"] == f"{HOME}/issues"
    for address in known["urls"].values():
        file = address.removeprefix(f"{HOME}/blob/HEAD/")
        assert file == address or (ROOT / file).is_file()
    assert known.keys() <= set(PROJECT["project"]["dynamic"])


@pytest.mark.parametrize(
    ("version", "urls", "code", "said"),
    [
        ("1.0", "", 1, "version 1.0 is no release yet, as no repository's address is known here"),
        ("1.1.dev3", "", 7, "before a release, name it with CXRLENS_HOME"),
        ("1.0", f"Project-URL: Homepage, {HOME}\n", 7, ""),
    ],
)
def test_nothing_without_an_address_is_a_release(tmp_path: Path, version: str, urls: str, code: int, said: str) -> None:
    """The script with stand-ins for what it calls; 7 is that of the environment in which files would be tried next."""
    (tmp_path / ".ci").mkdir()
    script = shutil.copy(ROOT / ".ci" / "release", tmp_path / ".ci")
    (tmp_path / "METADATA").write_text(f"Name: cxrlens\nVersion: {version}\n{urls}")
    made = f"dist/cxrlens-{version}"
    stand_in = f"""#!/bin/sh
    case "$1 $2" in
      "-m build") mkdir -p dist && touch {made}-py3-none-any.whl {made}.tar.gz ;;
      "-m twine") ;;
      "-m venv") exit 7 ;;
      *) cat METADATA ;;
    esac
    """
    bin_ = tmp_path / "venv" / "bin"
    bin_.mkdir(parents=True)
    for name in ("python", "check-wheel-contents"):
        (bin_ / name).write_text(stand_in)
        (bin_ / name).chmod(0o755)
    done = subprocess.run([script, "venv"], capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert bool(done.stderr) == bool(said)


# -- the image --------------------------------------------------------------------------------------------------------


def instructions() -> list[tuple[str, str]]:
    """The instructions of the Dockerfile, lines that go on joined."""
    lines = [
        line for line in (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines() if not line.startswith("#")
    ]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in joined.splitlines() if line.strip()]


def admitted(path: str) -> bool:
    """Whether .dockerignore lets a path into the build: the last line that fits decides."""
    is_in = True
    for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines():
        pattern = line.removeprefix("!")
        if line and not line.startswith("#") and (fnmatch.fnmatch(path, pattern) or path.startswith(f"{pattern}/")):
            is_in = line.startswith("!")
    return is_in


def test_the_image_runs_without_rights_and_tells_its_health() -> None:
    steps = instructions()
    last = max(place for place, (name, _) in enumerate(steps) if name == "FROM")
    final = steps[last:]
    names = [name for name, _ in final]
    assert names.count("HEALTHCHECK") == names.count("ENTRYPOINT") == names.count("USER") == 1
    assert dict(final)["USER"] not in ("root", "0")
    after = [name for name, _ in final[names.index("USER") :]]
    assert "RUN" not in after
    assert "COPY" not in after
    assert "/opt/cxrlens/health.py" in dict(final)["HEALTHCHECK"]
    assert "useradd" in dict(final)["RUN"]


def test_its_base_is_named_by_version_and_its_sources_are_there() -> None:
    steps = instructions()
    bases = [text.split()[0] for name, text in steps if name == "FROM"]
    assert all(re.fullmatch(r"python:3\.\d+-slim", base) for base in bases)
    assert "latest" not in str(steps)
    copied = [shlex.split(text) for name, text in steps if name == "COPY" and not text.startswith("--from")]
    sources = [source for words in copied for source in words[:-1]]
    assert {"src", "pyproject.toml", "hatch_build.py"} <= set(sources)
    assert all((ROOT / source).exists() and admitted(source) for source in sources)
    assert not admitted("tests")
    assert not admitted(".git")
    assert not admitted("deploy/pacs/.env")


def test_it_holds_extras_that_there_are() -> None:
    arguments = dict(text.split("=") for name, text in instructions() if name == "ARG")
    assert set(arguments["EXTRAS"].split(",")) <= EXTRAS.keys()


def test_the_compose_file_builds_that_image_and_names_versions() -> None:
    services = load_yaml("deploy/pacs/compose.yaml")["services"]
    built = {name: service["build"] for name, service in services.items() if "build" in service}
    (build,) = built.values()
    context = (ROOT / "deploy" / "pacs" / build["context"]).resolve()
    assert context == ROOT.resolve()
    assert set(build["args"]["EXTRAS"].split(",")) <= EXTRAS.keys()
    for service in services.values():
        name, colon, tag = service["image"].partition(":")
        assert name
        assert colon
        assert tag != "latest"
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))


HEALTH = module("deploy/health.py")


@pytest.mark.parametrize(
    ("command", "port"),
    [
        ("python /opt/cxrlens/bin/cxrlens serve screened -m m --port 81 --host 0.0.0.0", "81"),
        ("cxrlens serve -m m", "8000"),
        ("cxrlens serve -m m --port=82", "82"),
        ("cxrlens node -m m --serve 83", "83"),
        ("cxrlens node -m m", None),
        ("cxrlens screen images -m m -o out", None),
        ("cxrlens --help", None),
    ],
)
def test_the_port_whose_health_is_asked_for(command: str, port: str | None) -> None:
    assert HEALTH.port_of(command.split()) == port


@pytest.fixture
def answering() -> Iterator[tuple[str, list[str]]]:
    """The port of a server that answers /health, and what it was asked for."""
    asked: list[str] = []

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200 if self.path == "/health" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield str(server.server_address[1]), asked
        server.shutdown()
        thread.join()


def test_health_is_what_the_server_answers(answering: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    port, asked = answering
    until(lambda: HEALTH.is_healthy(port))  # it gives a server a few seconds
    assert set(asked) == {"/health"}
    assert not HEALTH.is_healthy("1")


# -- around the repository --------------------------------------------------------------------------------------------


def test_the_citation_names_what_the_readme_does() -> None:
    citation = load_yaml("CITATION.cff")
    assert citation.keys() >= {"cff-version", "message", "title", "authors", "license", "references"}
    assert citation["license"] == PROJECT["project"]["license"]
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    references = citation["references"]
    assert len(references) == 3
    for reference in references:
        assert f"*{reference['title']}.*" in readme
        assert all(f"{each['given-names']} {each['family-names']}" in readme for each in reference["authors"])
        assert str(reference["year"]) in readme


def test_the_table_of_extras_is_whole() -> None:
    rows = re.findall(r"^\| (`[^|]+) \|", (ROOT / "docs" / "install.md").read_text(encoding="utf-8"), re.MULTILINE)
    named = [name for row in rows for name in re.findall("`([^`]+)`", row)]
    assert sorted(named) == sorted(EXTRAS)


def test_extras_are_installed_in_one_way() -> None:
    """With the package there already, its name does; only docs/install.md says so, and how else."""
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    other = [page.name for page in pages if ".[" in re.sub(r"\]\([^)]*\)", "", page.read_text(encoding="utf-8"))]
    assert other == ["install.md"]
    named = {name for page in pages for name in re.findall(r"cxrlens\[([a-z,]+)\]", page.read_text(encoding="utf-8"))}
    assert {name for names in named for name in names.split(",")} <= EXTRAS.keys()


@pytest.mark.parametrize("name", ["ci", "release"])
def test_workflows_read_only_and_name_versions(name: str) -> None:
    workflow = load_yaml(f".github/workflows/{name}.yml")
    assert workflow["permissions"] == {"contents": "read"}
    text = (ROOT / ".github" / "workflows" / f"{name}.yml").read_text(encoding="utf-8")
    assert "secrets." not in text
    for job in workflow["jobs"].values():
        assert "permissions" not in job
        assert job["timeout-minutes"]
        assert all(re.fullmatch(r"actions/[a-z-]+@v\d+", step["uses"]) for step in job["steps"] if "uses" in step)
        checkout = job["steps"][0]
        assert checkout["with"] == {"fetch-depth": 0, "persist-credentials": False}
    runs = [step["run"] for job in workflow["jobs"].values() for step in job["steps"] if "run" in step]
    assert runs == {"ci": [".ci/run"], "release": ["make locked release-check"]}[name]


def test_every_target_that_ci_makes_is_there() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    lines = [line.partition("#")[0].split() for line in script.splitlines() if line.startswith("make ")]
    targets = {word for line in lines for word in line[1:] if re.fullmatch(r"[a-z]+(-[a-z]+)*", word)}
    assert targets >= {"locked", "check", "test", "release-check"}  # the site is built by tests/documentation
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)


def test_hooks_before_a_commit_are_the_checks_of_make() -> None:
    (repository,) = load_yaml(".pre-commit-config.yaml")["repos"]
    assert repository["repo"] == "local"
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8").replace("$(BIN)", ".venv/bin")
    checks = re.search(r"^check:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
    assert checks is not None
    wanted = [line.partition("#")[0].strip() for line in checks[1].splitlines()]
    hooks = [hook["entry"].removesuffix(" --force-exclude") for hook in repository["hooks"]]
    assert hooks == wanted


@pytest.mark.parametrize("name", ["bug", "feature"])
def test_issue_forms_have_what_their_readers_need(name: str) -> None:
    form = load_yaml(f".github/ISSUE_TEMPLATE/{name}.yml")
    assert form["name"]
    assert form["description"]
    kinds = [part["type"] for part in form["body"]]
    assert set(kinds) <= {"markdown", "textarea", "input", "dropdown", "checkboxes"}
    ids = [part["id"] for part in form["body"] if part["type"] != "markdown"]
    assert len(set(ids)) == len(ids) > 1
    assert all(part["attributes"].get("label") or part["attributes"].get("value") for part in form["body"])
