"""BibTeX entries of the papers the losses come from."""

from __future__ import annotations

JAL = """@inproceedings{wang2025joint,
  title={Joint Asymmetric Loss for Learning with Noisy Labels},
  author={Wang, Jialiang and Liu, Xianming and Zhou, Xiong and Zhai, Deming and Jiang, Junjun and Ji, Xiangyang},
  booktitle={IEEE/CVF International Conference on Computer Vision},
  year={2025}
}"""

ALF = """@inproceedings{zhou2021asymmetric,
  title={Asymmetric Loss Functions for Learning with Noisy Labels},
  author={Zhou, Xiong and Liu, Xianming and Jiang, Junjun and Gao, Xin and Ji, Xiangyang},
  booktitle={International Conference on Machine Learning},
  year={2021}
}"""

NORMALIZED = """@inproceedings{ma2020normalized,
  title={Normalized Loss Functions for Deep Learning with Noisy Labels},
  author={Ma, Xingjun and Huang, Hanxun and Wang, Yisen and Romano, Simone and Erfani, Sarah and Bailey, James},
  booktitle={International Conference on Machine Learning},
  year={2020}
}"""

ANL = """@inproceedings{ye2023active,
  title={Active Negative Loss Functions for Learning with Noisy Labels},
  author={Ye, Xichen and Li, Xiaoqiang and Dai, Songmin and Liu, Tong and Sun, Yan and Tong, Weiqin},
  booktitle={Advances in Neural Information Processing Systems},
  year={2023}
}"""

GCE = """@inproceedings{zhang2018generalized,
  title={Generalized Cross Entropy Loss for Training Deep Neural Networks with Noisy Labels},
  author={Zhang, Zhilu and Sabuncu, Mert},
  booktitle={Advances in Neural Information Processing Systems},
  year={2018}
}"""

SCE = """@inproceedings{wang2019symmetric,
  title={Symmetric Cross Entropy for Robust Learning with Noisy Labels},
  author={Wang, Yisen and Ma, Xingjun and Chen, Zaiyi and Luo, Yuan and Yi, Jinfeng and Bailey, James},
  booktitle={IEEE/CVF International Conference on Computer Vision},
  year={2019}
}"""

MAE = """@inproceedings{ghosh2017robust,
  title={Robust Loss Functions under Label Noise for Deep Neural Networks},
  author={Ghosh, Aritra and Kumar, Himanshu and Sastry, P. S.},
  booktitle={AAAI Conference on Artificial Intelligence},
  year={2017}
}"""

FOCAL = """@inproceedings{lin2017focal,
  title={Focal Loss for Dense Object Detection},
  author={Lin, Tsung-Yi and Goyal, Priya and Girshick, Ross and He, Kaiming and Doll{\\'a}r, Piotr},
  booktitle={IEEE International Conference on Computer Vision},
  year={2017}
}"""

LOGIT_CLIP = """@inproceedings{wei2023mitigating,
  title={Mitigating Memorization of Noisy Labels by Clipping the Model Prediction},
  author={Wei, Hongxin and Zhuang, Huiping and Xie, Renchunzi and Feng, Lei and Niu, Gang and An, Bo and Li, Yixuan},
  booktitle={International Conference on Machine Learning},
  year={2023}
}"""

LDR = """@inproceedings{zhu2023label,
  title={Label Distributionally Robust Losses for Multi-class Classification: Consistency, Robustness and Adaptivity},
  author={Zhu, Dixian and Ying, Yiming and Yang, Tianbao},
  booktitle={International Conference on Machine Learning},
  year={2023}
}"""

EPSILON_SOFTMAX = """@inproceedings{wang2024epsilon,
  title={$\\epsilon$-Softmax: Approximating One-Hot Vectors for Mitigating Label Noise},
  author={Wang, Jialiang and Zhou, Xiong and Zhai, Deming and Jiang, Junjun and Ji, Xiangyang and Liu, Xianming},
  booktitle={Advances in Neural Information Processing Systems},
  year={2024}
}"""

NLNL = """@inproceedings{kim2019nlnl,
  title={NLNL: Negative Learning for Noisy Labels},
  author={Kim, Youngdong and Yim, Junho and Yun, Juseung and Kim, Junmo},
  booktitle={IEEE/CVF International Conference on Computer Vision},
  year={2019}
}"""

MSE = """@article{brier1950verification,
  title={Verification of Forecasts Expressed in Terms of Probability},
  author={Brier, Glenn W.},
  journal={Monthly Weather Review},
  year={1950}
}"""

CROSS_ENTROPY = """@article{good1952rational,
  title={Rational Decisions},
  author={Good, I. J.},
  journal={Journal of the Royal Statistical Society, Series B},
  year={1952}
}"""
