# SPDX-License-Identifier: GPL-2.0-only
"""Layers of tasks with CPUs of their own, from the JSON files of scx_layered.

`reading` makes `Layer` objects of files, `matching` says which layer a task belongs to, `sizing`
how many CPUs each layer has and which, and `policy` schedules by that.
"""
