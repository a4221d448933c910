"""Samplers: functions of (denoise, x, schedule). Contract: sampler.py; all of them stand in lineup.py."""
