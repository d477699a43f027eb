"""Writes ``extract.npz`` from ``../shared/goldens``: each method at least once.

``python -m tests.goldens.make_extract``
"""

import json

import numpy as np

from tests.goldens.problems import EXTRACT, FIELDS, FULL_SET, full_configs

NAMES = {
    "P1/sls": ("armijo_cap_r0", "accnesterov_r0"),
    "P2/sls": (
        "armijo_r0_c0.1",
        "armijo_r1_c0.1",
        "armijo_r2_c0.1_b0.5_i100",
        "goldstein_r2_c0.1",
        "goldstein_r0_c0.1_unbounded",
        "accpolyak_r0",
        "seg_r1",
        "seg_cap",
        "bounded_armijo_r1_c0.5_max1_i5",
    ),
    "P2/sps": (
        "smooth_c0.2_eps0",
        "const_c0.5_max5",
        "const_c0.5_fstar0.1",
        "ada_moving_lb_c0.5",
    ),
    "P2/adasls": (
        "adam_sls_armijo_r1_c0.1_max0.5",
        "amsgrad_sls_armijo_r3_c0.2_i100",
        "amsgrad_sls_lipschitz_r1_c0.5",
        "adam_sls_mom0.9_c0.5_i100",
        "adagrad_sls_hb0.25_c0.5_i100",
        "rmsprop_sls_armijo_r0_c0.1_i100",
        "adam_sps_const_c0.2_max10",
        "amsgrad_sps_smooth_c1_mom0.9",
        "adam_fixed0.01_mom0.9",
    ),
    "P2/ponos": (
        "ponos_default",
        "ponos_noreset",
        "grippo_W10_mode13",
        "trueNM_W3",
        "zhang_window10_eta0.9",
        "zhang_every2",
        "polyak_smooth_nols",
        "monotone_mode0_c0.5",
        "zhang_r3",
        "zhang_r4",
        "monotone_r11_b0.9",
    ),
    "P2/ponosprec": (
        "prec_r213_zhang_m2_0",
        "prec_r200_zhang_m2_0.9",
        "prec_r2000_nols_m2_0.9",
        "prec_amsgrad_r200_zhang_m2_0",
    ),
    "P2/salsa": ("salsa_speed1_mv0", "salsa_speed0_mv1", "salsa_speed1_wd0.01"),
    "P2/sign": (
        "SignSGD_m0.9_lr0.002",
        "NormalizedSGD_m0.9_lr0.02",
        "ClippedGD_m0.9_lr0.02",
        "ModifiedAdam_bc0",
    ),
    "P3/sls": ("armijo_r1_c0.1",),
    "P3/sps": ("smooth_c0.2_centralize_grad",),
    "P3/ponos": ("ponos_default",),
    "P3/salsa": ("salsa_speed1_mv0",),
    "P3/sign": ("BlockNormalizedSGD_m0.9_lr0.02", "RescaledSignDescent_norm2_m0.9"),
    "P6/corner": (
        "tiny_accpolyak",
        "tiny_adam_sls",
        "tiny_smooth_frozen",
        "tiny_fail_r1",
        "tiny_fail_zhang_mode13",
        "tiny_NormalizedSGD_nan",
    ),
}
PROBLEM_KEYS = ("problem_json", "X", "y", "batch_idx", "theta0", "theta_steps")


def main() -> None:
    configs, chosen, arrays = full_configs(), {}, {}
    for where, names in NAMES.items():
        problem, family = where.split("/")
        with np.load(FULL_SET / f"{problem}_s0_{family}_A.npz") as file:
            arrays |= {f"{problem}/{key}": file[key] for key in PROBLEM_KEYS}
            for name in names:
                chosen[f"{where}/{name}"] = configs[f"{where}/{name}"]
                for field in (*FIELDS, "stable_steps"):
                    arrays[f"{where}/{name}/{field}"] = file[f"{name}/{field}"]
    arrays["configs_json"] = np.asarray(json.dumps(chosen))
    np.savez_compressed(EXTRACT, **arrays)
    print(f"{EXTRACT}: {len(chosen)} configurations, {EXTRACT.stat().st_size} bytes")


if __name__ == "__main__":
    main()
