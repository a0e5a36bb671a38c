"""`jal-hf train --push_to_hub` from its first second to the last commit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.hub.conftest import CALLS, run_client
from tests.hub.local_hub import TOKEN, LocalHub, check_card
from tests.runs.helpers import class_folders

_DRIVER = (
    CALLS
    + """
    import shutil
    sleep = time.sleep
    time.sleep = lambda seconds: sleep(min(seconds, 0.05))
    token = os.environ.pop("HF_TOKEN")
    short = ["--num_train_epochs", "2", "--logging_strategy", "epoch", "--disable_tqdm", "true", "--use_cpu", "true"]

    def train(name, repo, *words):
        push = ["--push_to_hub", "true", "--hub_model_id", repo]
        call(name, "train", "digits", *short, "--output_dir", name, *push, *words)

    train("without-token", "tester/digits")
    train("bad-name", "tester/a--b")
    train("wrong-token", "tester/digits", "--hub_token", "hf_wrongwrongwrong")
    train("every-save", "tester/digits", "--hub_strategy", "every_save", "--hub_always_push", "true",
          "--hub_private_repo", "true", "--hub_token", token)
    os.environ["HF_TOKEN"] = token
    train("foreign-name", "google/vit")
    fault("403", "/commit/")
    train("refused", "late", "--hub_strategy", "end")
    call("again", "push", "refused", "tester/late")
    call("card", "card", "refused", "--print")
    call("private-too-late", "push", "refused", "tester/late", "--private")
    shutil.copytree("refused", "tried")
    fault("403", "/commit/")
    call("refused-branch", "push", "tried", "tester/tried", "--revision", "experiment")
    call("branch", "push", "tried", "tester/tried", "--revision", "experiment")
    call("going-on", "train", "digits", *short, "--output_dir", "going-on", "--model", "hf-hub:tester/late")
    push = ["--push_to_hub", "true", "--hub_token", token, "--hub_private_repo", "true"]
    left = ["train", "digits", *short, "--output_dir", "left", "--push_to_hub", "true", "--hub_model_id", "left"]
    fault("403", "/commit/")
    for name in ("left", "left-again", "left-for-good"):
        call(name, *left, "--hub_strategy", "end", "--resume", "auto")
    call("tuned", "finetune", "pictures", "--model", "refused", *short[:2], *short[4:], "--output_dir", "tuned", *push)
    Path("told.json").write_text(json.dumps(told))
"""
)


class Session:
    """What one process of several commands left: their answers, the Hub, the folders, all it printed."""

    def __init__(self, hub: LocalHub, folder: Path, printed: str) -> None:
        self.hub, self.folder, self.printed = hub, folder, printed
        self.told = json.loads((folder / "told.json").read_text())


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    folder = tmp_path_factory.mktemp("session")
    class_folders(folder / "pictures", rows=12, test=2)
    with LocalHub() as hub:
        done = run_client(hub, folder, _DRIVER)
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-6000:]
        yield Session(hub, folder, done.stdout + done.stderr)


def test_every_commit_of_a_run_carries_the_card_and_never_a_pickle(session: Session) -> None:
    assert session.told["every-save"]["code"] == 0, session.told["every-save"]["err"]
    repository = session.hub.repository("tester/digits")
    titles = [commit.title for commit in repository.commits]
    assert len(titles) == 4, titles
    assert titles[1].startswith("Training in progress")
    for commit in repository.commits[1:]:
        names = set(commit.files)
        assert {"README.md", "config.json", "model.safetensors", "run.json"} <= names, (commit.title, names)
        assert not [name for name in names if name.endswith((".bin", ".pt", ".pth", ".pkl"))], names
        assert check_card(commit.files["README.md"].content.decode()) == []


def test_last_commit_holds_the_run_as_it_lies_on_disk(session: Session) -> None:
    last, folder = session.hub.files("tester/digits"), session.folder / "every-save"
    pictures = {f"plots/{name}.png" for name in ("curves", "transition_matrix", "confidence_histogram")}
    assert pictures | {"log.jsonl", "README.md", "run.json", "model.safetensors", "config.json"} <= set(last)
    for name, content in last.items():
        if name != ".gitattributes":
            assert content == (folder / name).read_bytes(), name
    metadata = yaml.safe_load(last["README.md"].decode().split("\n---\n")[0].removeprefix("---\n"))
    accuracy = json.loads(last["run.json"])["metrics"]["last"]["accuracy"]
    assert metadata["model-index"][0]["results"][0]["metrics"][0]["value"] == round(accuracy, 6)
    assert "pushed: " in session.told["every-save"]["out"]


def test_private_repository_is_made_private(session: Session) -> None:
    assert session.hub.repository("tester/digits").private
    assert not session.hub.repository("tester/late").private


def test_private_push_to_a_public_repository_is_refused(session: Session) -> None:
    answer = session.told["private-too-late"]
    assert answer["code"] == 1
    assert "is there already and public" in answer["err"]


def test_push_to_a_branch_makes_it_and_leaves_the_main_one_alone(session: Session) -> None:
    refused = session.told["refused-branch"]
    assert refused["code"] == 1
    assert "jal-hf push tried tester/tried --revision experiment" in refused["err"]
    assert session.told["branch"]["code"] == 0, session.told["branch"]["err"]
    repository = session.hub.repository("tester/tried")
    assert [commit.title for commit in repository.commits] == ["initial commit"]
    begun, pushed = repository.branches["experiment"]
    assert begun is repository.commits[0]
    assert {"README.md", "run.json", "model.safetensors"} <= set(pushed.files)


def test_training_goes_on_from_a_pushed_model_and_its_card_says_so(session: Session) -> None:
    answer = session.told["going-on"]
    assert answer["code"] == 0, answer["err"]
    folder = session.folder / "going-on"
    record = json.loads((folder / "run.json").read_text())
    assert record["model"]["architecture"] == "jal_digits_cnn"
    # two epochs from random weights against two more: the first model's accuracy is where the second starts
    before = json.loads((session.folder / "refused" / "run.json").read_text())["metrics"]["last"]
    assert record["metrics"]["last"]["accuracy"] > before["accuracy"] - 0.1
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "base_model: tester/late" in card
    assert "import jal_hf  # registers the network in timm" in card


def test_fine_tuning_pushes_the_chosen_model_and_no_other(session: Session) -> None:
    answer = session.told["tuned"]
    assert answer["code"] == 0, answer["err"]
    names = {name for _, name in session.hub.repositories}
    assert names == {"tester/digits", "tester/late", "tester/left", "tester/tried", "tester/tuned"}
    repository = session.hub.repository("tester/tuned")
    assert repository.private
    assert [commit.title for commit in repository.commits][1:] == ["Add the trained model with its card"]
    pushed, folder = session.hub.files("tester/tuned"), session.folder / "tuned"
    assert json.loads(pushed["run.json"])["finetune"]["candidates"]
    for name in ("run.json", "README.md", "model.safetensors"):
        assert pushed[name] == (folder / name).read_bytes(), name


def test_failed_push_leaves_the_run_complete_and_names_the_command_that_tries_again(session: Session) -> None:
    refused = session.told["refused"]
    assert refused["code"] == 1
    assert "jal-hf push refused tester/late" in refused["err"]
    assert "Traceback" not in refused["err"]
    assert "test accuracy, last epoch" in refused["out"], "the table must be printed although the push failed"
    folder = session.folder / "refused"
    names = {"README.md", "run.json", "config.json", "model.safetensors"}
    assert names <= {path.name for path in folder.iterdir()}
    assert session.told["again"]["code"] == 0, session.told["again"]["err"]
    assert len(session.hub.repository("tester/late").commits) == 2
    for name in names:
        assert session.hub.files("tester/late")[name] == (folder / name).read_bytes()
    assert session.told["card"]["out"] == (folder / "README.md").read_text(encoding="utf-8")


def test_same_line_after_a_failed_push_pushes_once(session: Session) -> None:
    told = session.told
    assert [told[name]["code"] for name in ("left", "left-again", "left-for-good")] == [1, 0, 0]
    assert "pushed: " in told["left-again"]["out"] + told["left-again"]["err"]
    assert "pushed: " not in told["left-for-good"]["out"] + told["left-for-good"]["err"]
    assert len(session.hub.repository("tester/left").commits) == 2
    assert "model.safetensors" in session.hub.files("tester/left")


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("without-token", "hf auth login"),
        ("bad-name", "is no repository name"),
        ("wrong-token", "does not accept the token"),
        ("foreign-name", "this token belongs to tester"),
    ],
)
def test_push_that_cannot_be_is_refused_before_training(session: Session, case: str, message: str) -> None:
    assert session.told[case]["code"] == 2
    assert message in session.told[case]["err"]
    assert "hf_wrong" not in session.told[case]["err"]
    assert not (session.folder / case).exists()


def test_token_stands_in_no_file_and_no_line_of_a_whole_session(session: Session) -> None:
    assert TOKEN not in session.printed
    assert TOKEN not in json.dumps(session.told)
    for path in session.folder.rglob("*"):
        if path.is_file():
            assert TOKEN.encode() not in path.read_bytes(), f"the token stands in {path}"
    for repository in session.hub.repositories.values():
        for commit in repository.commits:
            for name, blob in commit.files.items():
                assert TOKEN.encode() not in blob.content, f"the token was pushed in {name}"
    command = json.loads((session.folder / "every-save" / "run.json").read_text())["command"]
    assert "--push_to_hub true" in command
    assert "hub_token" not in command
