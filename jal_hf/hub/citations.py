"""BibTeX of the papers behind datasets and networks; the losses know their own."""

from __future__ import annotations

_CIFAR = """@techreport{krizhevsky2009learning,
  title={Learning Multiple Layers of Features from Tiny Images},
  author={Krizhevsky, Alex},
  institution={University of Toronto},
  year={2009}
}"""

_MNIST = """@article{lecun1998gradient,
  title={Gradient-Based Learning Applied to Document Recognition},
  author={LeCun, Yann and Bottou, L{\\'e}on and Bengio, Yoshua and Haffner, Patrick},
  journal={Proceedings of the IEEE},
  volume={86},
  number={11},
  pages={2278--2324},
  year={1998}
}"""

_CIFAR_N = """@inproceedings{wei2022learning,
  title={Learning with Noisy Labels Revisited: A Study Using Real-World Human Annotations},
  author={Wei, Jiaheng and Zhu, Zhaowei and Cheng, Hao and Liu, Tongliang and Niu, Gang and Liu, Yang},
  booktitle={International Conference on Learning Representations},
  year={2022}
}"""

_WEBVISION = """@article{li2017webvision,
  title={WebVision Database: Visual Learning and Understanding from Web Data},
  author={Li, Wen and Wang, Limin and Li, Wei and Agustsson, Eirikur and Van Gool, Luc},
  journal={arXiv preprint arXiv:1708.02862},
  year={2017}
}"""

_CLOTHING = """@inproceedings{xiao2015learning,
  title={Learning from Massive Noisy Labeled Data for Image Classification},
  author={Xiao, Tong and Xia, Tian and Yang, Yi and Huang, Chang and Wang, Xiaogang},
  booktitle={IEEE Conference on Computer Vision and Pattern Recognition},
  year={2015}
}"""

_DIGITS = """@article{pedregosa2011scikit,
  title={Scikit-learn: Machine Learning in Python},
  author={Pedregosa, Fabian and others},
  journal={Journal of Machine Learning Research},
  volume={12},
  pages={2825--2830},
  year={2011}
}"""

_RESNET = """@inproceedings{he2016deep,
  title={Deep Residual Learning for Image Recognition},
  author={He, Kaiming and Zhang, Xiangyu and Ren, Shaoqing and Sun, Jian},
  booktitle={IEEE Conference on Computer Vision and Pattern Recognition},
  year={2016}
}"""

_VIT = """@inproceedings{dosovitskiy2021image,
  title={An Image is Worth 16x16 Words: Transformers for Image Recognition at Scale},
  author={Dosovitskiy, Alexey and others},
  booktitle={International Conference on Learning Representations},
  year={2021}
}"""

_TIMM = """@misc{rw2019timm,
  title={PyTorch Image Models},
  author={Wightman, Ross},
  publisher={GitHub},
  doi={10.5281/zenodo.4414861},
  year={2019}
}"""

_ALF = """@inproceedings{zhou2021asymmetric,
  title={Asymmetric Loss Functions for Learning with Noisy Labels},
  author={Zhou, Xiong and Liu, Xianming and Jiang, Junjun and Gao, Xin and Ji, Xiangyang},
  booktitle={International Conference on Machine Learning},
  year={2021}
}"""

# First match wins; a dataset is looked up by the last part of its name.
_DATASETS = {
    "cifar10n": (_CIFAR, _CIFAR_N),
    "cifar100n": (_CIFAR, _CIFAR_N),
    "cifar": (_CIFAR,),
    "mnist": (_MNIST,),
    "webvision": (_WEBVISION,),
    "clothing1m": (_CLOTHING,),
    "digits": (_DIGITS,),
}
_NETWORKS = {
    "jal_resnet34_cifar": (_RESNET,),
    "jal_digits_cnn": (),
    "jal_mnist_cnn": (_ALF,),
    "jal_cnn8": (_ALF,),
    "resnet": (_RESNET, _TIMM),
    "vit_": (_VIT, _TIMM),
    "": (_TIMM,),
}


def dataset_citations(name: str, noise_kind: str | None = None) -> tuple[str, ...]:
    """BibTeX entries of a known dataset; none for an unknown one. Human labels of CIFAR have a paper of
    their own.
    """
    last = name.rstrip("/").rsplit("/", 1)[-1].lower().replace("-", "").replace("_", "")
    if last in ("fashionmnist", "kmnist", "emnist"):
        return ()
    found = next((entries for key, entries in _DATASETS.items() if last.startswith(key)), ())
    return (*found, _CIFAR_N) if noise_kind == "human" and _CIFAR_N not in found else found


def network_citations(name: str, library: str = "timm") -> tuple[str, ...]:
    """BibTeX entries of a network: its paper where known, and timm where it is timm's."""
    found = next(entries for key, entries in _NETWORKS.items() if name.startswith(key))
    return tuple(entry for entry in found if entry != _TIMM or library == "timm")
