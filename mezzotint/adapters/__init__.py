"""Files that change a checkpoint's weights (LoRA and its kin), read and computed with numpy alone.

Contract: `Form` (form.py): what a kind of adapter makes of its factors. `fit_adapter` (fit.py) is the way in.
"""
