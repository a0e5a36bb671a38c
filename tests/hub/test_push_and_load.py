"""What was pushed loads in all four ways, bit-equal, with the right preprocessing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.hub.conftest import Client
from tests.hub.local_hub import TOKEN, LocalHub
from tests.hub.records import write_example_record

_BUILD = """
    import json, numpy as np, torch
    from pathlib import Path
    from PIL import Image
    from jal_hf import create_model
    from jal_hf.hub import push_run
    from jal_hf.models import export_model

    def build(name, network, size, channels, private):
        torch.manual_seed(0)
        names = [f"class {number}" for number in range(10)]
        model = create_model(network, num_labels=10, class_names=names, image_size=size, in_chans=channels,
                             mean=[0.31] * channels, std=[0.27] * channels).eval()
        for buffer in model.buffers():
            if buffer.is_floating_point():
                buffer.uniform_(0.5, 1.5)
        folder = Path(name)
        export_model(model, folder)
        (folder / "training_args.bin").write_bytes(b"pickle")
        (folder / "optimizer.pt").write_bytes(b"pickle")
        (folder / "plots").mkdir(exist_ok=True)
        Image.new("RGB", (4, 4)).save(folder / "plots" / "curves.png")
        (folder / "plots" / "secret.pkl").write_bytes(b"pickle")
        shape = (size, size) if channels == 1 else (size, size, 3)
        pixels = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
        Image.fromarray(pixels).save(f"{name}.png")
        image = torch.from_numpy(pixels.reshape(size, size, channels)).permute(2, 0, 1)[None].float().div(255)
        image = (image - 0.31) / 0.27
        with torch.inference_mode():
            np.savez(f"{name}.npz", image=image.numpy(), logits=model(image).logits.numpy())
        print(push_run(folder, f"tester/{name}", private=private))
"""

_LOAD = """
    import numpy as np, timm, torch
    {prelude}
    from transformers import AutoModelForImageClassification, pipeline

    def check(name):
        saved = np.load(f"{{name}}.npz")
        image, logits = torch.from_numpy(saved["image"]), torch.from_numpy(saved["logits"])
        repo = f"tester/{{name}}"
        wrapped = AutoModelForImageClassification.from_pretrained(repo).eval()
        plain = timm.create_model(f"hf-hub:{{repo}}", pretrained=True).eval()
        with torch.inference_mode():
            assert torch.equal(wrapped(image).logits, logits), "transformers differs"
            assert torch.equal(plain(image), logits), "timm differs"
        classifier = pipeline("image-classification", model=repo, top_k=10, function_to_apply="none")
        scores = {{entry["label"]: entry["score"] for entry in classifier(f"{{name}}.png")}}
        expected = {{f"class {{number}}": value for number, value in enumerate(logits[0].tolist())}}
        assert scores == expected, (scores, expected)
"""


def test_pushed_models_load_in_all_four_ways_after_the_cache_is_wiped(
    hub: LocalHub, client: Client, tmp_path: Path
) -> None:
    runs = {"grey": ("jal_mnist_cnn", 28, 1), "colour": ("jal_cnn8", 32, 3), "stock": ("resnet10t", 32, 3)}
    for name, (network, size, channels) in runs.items():
        (tmp_path / name).mkdir()
        facts = {"name": network, "image_size": size, "in_chans": channels}
        write_example_record(tmp_path / name, model=facts)
    calls = [
        f"    build({name!r}, {network!r}, {size}, {channels}, {name == 'grey'})"
        for name, (network, size, channels) in runs.items()
    ]
    client(_BUILD + "\n" + "\n".join(calls))

    assert hub.repository("tester/grey").private
    assert not hub.repository("tester/colour").private
    expected = {
        ".gitattributes",
        "README.md",
        "config.json",
        "model.safetensors",
        "plots/curves.png",
        "run.json",
    }
    for name in runs:
        assert set(hub.files(f"tester/{name}")) == expected
        assert len(hub.repository(f"tester/{name}").commits) == 2
        assert f"hf-hub:tester/{name}" in hub.files(f"tester/{name}")["README.md"].decode()
        assert json.loads(hub.files(f"tester/{name}")["run.json"])["hub"]["repo_id"] == f"tester/{name}"

    own = (
        _LOAD.format(prelude="import jal_hf")
        + """
    check("grey")
    check("colour")
    from jal_hf import create_model
    saved = np.load("grey.npz")
    again = create_model("hf-hub:tester/grey", num_labels=10).eval()
    with torch.inference_mode():
        assert torch.equal(again(torch.from_numpy(saved["image"])).logits, torch.from_numpy(saved["logits"]))
    assert again.config.id2label[3] == "class 3"
    assert tuple(again.config.pretrained_cfg["mean"]) == (0.31,)
    fewer = create_model("hf-hub:tester/colour", num_labels=4, class_names=list("abcd"))
    assert fewer.timm_model.fc.out_features == 4
    """
    )
    client(own, home="fresh")
    without = (
        _LOAD.format(prelude="")
        + """
    check("stock")
    import sys
    assert not any(name.startswith("jal_hf") for name in sys.modules)
    """
    )
    client(without, home="fresh-too")

    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert TOKEN.encode() not in path.read_bytes(), f"the token stands in {path}"


@pytest.mark.parametrize("repo", ["tester/a--b", "a/b/c", "tester/-x", "../x"])
def test_push_refuses_a_bad_repository_name(tmp_path: Path, repo: str) -> None:
    from jal_hf.hub import push_run

    write_example_record(tmp_path)
    with pytest.raises(ValueError, match="is no repository name"):
        push_run(tmp_path, repo)
    assert "hub" not in json.loads((tmp_path / "run.json").read_text())


def test_push_refuses_an_empty_revision(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A branch without a name was once asked of the Hub."""
    from jal_hf.cli.main import main
    from jal_hf.hub import push_run

    write_example_record(tmp_path)
    with pytest.raises(ValueError, match="revision is empty"):
        push_run(tmp_path, "tester/x", revision="")
    assert main(["push", str(tmp_path), "tester/x", "--revision", " "]) == 2
    assert "revision is empty" in capsys.readouterr().err
