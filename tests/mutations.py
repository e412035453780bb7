"""Wrong code on purpose: each silent error that other ports made (and some of ours) must fail the test named beside it.

``python tests/mutations.py [WORD]`` (part of ``make soak``) copies the checkout, breaks one thing at a time, and expects red.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# fmt: off
MUTATIONS: list[tuple[str, str, str, str, str]] = [  # what, file, right, wrong, tests that must fail
    ("bilinear upsampling",              "sngan_hub/layers/resample.py",    'if mode == "nearest":\n        return F.interpolate(x, scale_factor=2, mode="nearest")', 'if False:\n        return x', "test_models.py::test_upsampling_is_nearest"),
    ("in-place relu before the shortcut", "sngan_hub/networks/blocks.py",     "h = x if self.first else F.relu(x)  #", "h = x if self.first else F.relu(x, inplace=True)  #", "test_models.py::test_shortcut_reads_the_input_before_relu_and_nothing_is_overwritten"),
    ("a discriminator too thin",         "sngan_hub/networks/resnet.py",      '"128":   Row(4,  64, (16, 16, 8, 4, 2, 1),     64,', '"128":   Row(4,  64, (16, 16, 8, 4, 2, 1),     8,', "test_models.py::test_parameter_counts"),
    ("an extra downsampling",            "sngan_hub/networks/resnet.py",      '"111110"),\n    "256"', '"111111"),\n    "256"', "test_models.py::test_wide_discriminator_no_extra_downsampling_and_block_maps"),
    ("batch-norm epsilon 1e-5",          "sngan_hub/networks/resnet.py",      "bn_eps: float = 2e-5", "bn_eps: float = 1e-5", "test_goldens.py"),
    ("gains centred at 0",               "sngan_hub/layers/normalizers.py", "nn.Parameter(torch.ones(shape))", "nn.Parameter(torch.zeros(shape))", "test_models.py::test_batch_norm_epsilon_and_conditional_gain_start"),
    ("mean instead of sum pooling",      "sngan_hub/networks/resnet.py",      ".sum((2, 3), dtype=self.linear.weight.dtype)", ".mean((2, 3), dtype=self.linear.weight.dtype)", "test_models.py::test_pooling_is_a_sum_and_the_first_block_pools_before_its_shortcut"),
    ("sigma from the old u",             "sngan_hub/layers/spectral_norm.py", "        u = unit(matrix @ v)\n    return", "    return", "test_normalizers.py::test_one_iteration_is_v_then_u_and_sigma_from_the_new_pair"),
    ("sigma without gradient",           "sngan_hub/layers/spectral_norm.py", "weights = [weight / self.sigma(layer, weight.flatten(1))]", "weights = [weight / self.sigma(layer, weight.flatten(1)).detach()]", "test_normalizers.py::test_gradient_flows_through_sigma_with_u_and_v_constant"),
    ("sigma off by a percent",           "sngan_hub/layers/spectral_norm.py", "return Estimate(torch.dot(u, matrix @ v), u, v)", "return Estimate(torch.dot(u, matrix @ v) * 1.01, u, v)", "test_goldens.py::test_discriminator"),
    ("evaluating stores u",              "sngan_hub/layers/spectral_norm.py", "        if layer.training:\n            # Copied", "        if True:\n            # Copied", "test_normalizers.py::test_evaluating_iterates_but_stores_nothing"),
    ("an average without statistics",    "training/engine/ema.py",          "if ours[name].is_floating_point()]", 'if ours[name].is_floating_point() and "running" not in name]', "test_training.py::test_average_follows_weights_and_statistics"),
    ("Inception's BN epsilon",           "sngan_hub/metrics/inception.py", "(var + 1e-3)", "(var + 1e-5)", "test_metrics.py::test_inception_gives_the_known_features"),
    ("all labels 0 (nested folders)",    "sngan_hub/data/folders.py", "labels.append(label)", "labels.append(0)", "test_sources.py::test_a_folder_of_class_folders"),
    ("torch's epsilon in Adam",          "training/engine/state.py",        "beta2=beta2, eps=1e-8", "beta2=beta2, eps=1e-7", "test_trajectory.py"),
    ("fakes judged by the real labels",  "training/engine/step.py",         "made.append((functions.generate(g, z, y), y))", "made.append((functions.generate(g, z, y), y.roll(1)))", "test_trajectory.py"),
    ("torch's learning-rate step",       "training/config/schema.py",       "if step <= self.decay_from or", "step += 1\n        if step <= self.decay_from or", "test_training.py::test_learning_rate_is_linear_shift_with_its_off_by_one"),
    ("latents of the batch, not the seed", "sngan_hub/sampling/generate.py",  "advance(start * words // 4)", "advance(0)", "test_sampling.py::test_latents_are_a_function_of_seed_and_index"),
    ("gains without their +1",           "sngan_hub/convert/code_bases/studiogan.py", "gain_offset=always(1, _CODE)", "gain_offset=always(0, _CODE)", "test_convert.py::test_golden_case_through_the_command"),
    ("mmgeneration's BGR left as it is", "sngan_hub/convert/code_bases/mmgeneration.py", 'order, why = "bgr", ', 'order, why = "rgb", ', "test_convert.py::test_golden_case_through_the_command"),
    ("v not folded with its kernel",     "sngan_hub/convert/resnets.py", "return v.reshape(3, -1).flip(0).flatten()", "return v.clone()", "test_convert.py::test_golden_case_through_the_command"),
    ("StudioGAN's 64-px downsampling",   "sngan_hub/convert/code_bases/studiogan.py", '5: ("11110", 64)', '5: ("11111", 64)', "test_convert.py::test_golden_case_through_the_command"),
    ("sigma of converted nets iterated", "sngan_hub/layers/spectral_norm.py", 'if self.sn_eval == "stored" and not layer.training:', "if False:", "test_convert.py::test_golden_case_through_the_command"),
    ("stored v never moves",             "sngan_hub/layers/spectral_norm.py", "layer.v.copy_(v)", "layer.v.copy_(layer.v)", "test_convert.py::test_golden_case_through_the_command"),
    ("surplus tensors ignored",          "sngan_hub/convert/networks.py", "        if key not in used and not", "        if False and not", "test_hostile.py::test_what_is_not_exactly_such_a_network_is_refused_by_the_tensors_name"),
    ("archive CRCs unchecked",           "sngan_hub/convert/archive.py", "            _check_crc(path, archive, entry)\n", "            pass\n", "test_hostile.py::test_a_flipped_bit_of_a_weight_is_found_by_the_archives_crc"),
    ("pickled sizes believed",           "sngan_hub/convert/archive.py", "    if declared > path.stat().st_size:", "    if False:", "test_hostile.py::test_sizes_that_lie_are_refused_before_memory_is_taken"),
    ("any pickle loaded",                "sngan_hub/convert/archive.py", "weights_only=True)\n    except", "weights_only=False)\n    except", "test_hostile.py::test_a_pickle_that_calls_a_function_is_refused_and_calls_nothing"),
    ("a download's hash unchecked",      "sngan_hub/hub/download.py", "            if not found.startswith(record.sha256):\n", "            if False:\n", "test_fetch.py"),
    ("a part resumed at the wrong byte", "sngan_hub/hub/transfer.py", 'f"bytes={start}-"', 'f"bytes={start + 1}-"', "test_fetch.py"),
    ("a drive's changed file accepted",  "sngan_hub/hub/download.py", "refused = check_first(record, found)", 'refused = ""', "test_drive.py::test_a_changed_file_is_refused_with_the_way_out"),
    ("a drive's old part resumed",       "sngan_hub/hub/drive.py", "    if not resume:\n", "    resume = True\n    if False:\n", "test_drive.py::test_a_line_that_is_cut_every_time"),
    ("a drive's page kept as a file",    "sngan_hub/hub/drive.py", "page = file.read(512).lstrip()[:1] == b\"<\"", "page = False", "test_drive.py::test_a_page_sent_as_the_file"),
    ("a mirror's config unchecked",      "sngan_hub/hub/local.py", "CONFIG_NAME, record.config_sha256)", "CONFIG_NAME, \"\")", "test_mirror.py::test_a_mirror_behind_a_web_server"),
    ("SSGAN's head as an embedding",     "sngan_hub/convert/code_bases/mimicry.py", 'elif "l_y.bias" in part.tensors:', "elif False:", "test_convert_heads.py::test_ssgans_rotation_head_is_named_and_left_out"),
    ("the generator beside its average", "sngan_hub/convert/code_bases/sngan_pytorch.py", "if _ENTRIES[0] in present:", "if False:", "test_convert_heads.py::test_sngan_pytorchs_checkpoint_gives_its_average_and_its_discriminator"),
    ("a damaged cache used",               "sngan_hub/hub/local.py",            "return is_made_of(folder, record) and not damage(folder)", "return is_made_of(folder, record)", "test_fetch.py::test_a_damaged_cache_is_made_anew"),
    ("the wrong one of two names",       "sngan_hub/class_names.py", "known = {**others, **known}", "known = {**known, **others}", "test_classes.py"),
    ("u moved by every micro-batch",     "sngan_hub/layers/spectral_norm.py", "weights = [divided(weight, estimate) for estimate in self.estimates]", "weights = [weight / self.sigma(layer, weight.flatten(1)) for _ in self.estimates]", "test_processes.py::test_micro_batches_are_exact"),
    ("a penalty through scaled outputs", "sngan_hub/layers/spectral_norm.py", " or self.divides_weight", "", "test_fast_step.py::test_a_penalty_is_differentiated_twice"),
    ("statistics over the whole batch",  "sngan_hub/layers/normalizers.py", "size = self.group or len(x)", "size = len(x)", "test_processes.py::test_batch_norm_groups_are_batches_of_their_own"),
    ("statistics follow the last group", "sngan_hub/layers/normalizers.py", "if not self.held and i == 0 else", "if not self.held else", "test_processes.py::test_batch_norm_groups_are_batches_of_their_own"),
    ("statistics move in every micro-batch", "sngan_hub/layers/logical_forward.py", "            norm.held = held\n", "            pass\n", "test_processes.py::test_micro_batches_are_exact"),
    ("a micro-batch weighs as the whole", "training/engine/distributed.py",      "(stop - start) / own)", "1.0)", "test_processes.py::test_micro_batches_are_exact"),
    ("draws of a graph that stay",       "training/engine/cuda_graph.py",   "own.copy_(new)\n", "pass\n", "test_fast_step.py::test_a_recorded_iteration_reads_all_that_differs_between_iterations"),
    ("augmentation drawn per part",      "training/feed/feed.py",         "_{k}\"][i] = values[:, own]", "_{k}\"][i] = values[:, : own.stop - own.start]", "test_feed.py::test_latents_and_augmentations_are_those_of_the_step"),
    ("Langevin steps in float32",        "sngan_hub/sampling/refine.py",    "return copy.deepcopy(network).double()", "return copy.deepcopy(network)", "test_refining.py::test_refined_pictures_do_not_depend_on_batch_or_threads"),
    ("half of a file left behind",       "sngan_hub/files.py",          "        temporary.unlink(missing_ok=True)\n", "        pass\n", "test_files.py::test_after_an_error_the_old_file_is_there_and_nothing_else"),
    ("renamed before it is on the disk", "sngan_hub/files.py",          "        if sync:\n", "        if False:\n", "test_files.py::test_a_synced_file_is_on_the_disk_before_it_has_its_name"),
    ("a plan that forgets what was given", "training/finetune/plan.py",  "for key, value in chosen.items() if key not in given}", "for key, value in chosen.items()}", "test_plan.py::test_settings_follow_the_number_of_images"),
    ("a device that is not there",       "sngan_hub/devices.py",     "    if device.type == \"cuda\":\n        count", "    if False:\n        count", "test_run_folder.py::test_the_device_is_resolved_once_and_what_is_not_there_is_refused"),
    ("a snapshot without its strength",  "training/engine/snapshots.py",        "with_strength_applied(network)._save_pretrained", "network._save_pretrained", "test_run_folder.py::test_a_snapshot_alone_gives_what_was_measured_within_the_transition"),
    ("a class name as HTML",             "sngan_hub/networks/card.py",   'html.escape(" ".join(name.split()), quote=False)', '" ".join(name.split())', "test_cards.py::test_class_names_do_nothing_in_a_card"),
    ("everybody's lines cut back",       "training/monitor/log.py",          "for path in (out / name for name in LINES if (out / name).is_file()):", 'for path in out.glob("*.jsonl"):', "test_run_folder.py::test_only_what_the_run_wrote_is_cut_back"),
    ("two runs in one folder",           "training/engine/run_folder.py",   "        lock.acquire(timeout=0)\n", "        pass\n", "test_run_folder.py::test_a_second_run_in_one_folder_is_refused_until_the_first_is_dead"),
    ("a typing error sent to the Hub",   "sngan_hub/hub/resolve.py",     ' or ("/" in text and path.parent.is_dir())', "", "test_resolve.py::test_a_typing_error_is_answered_at_once_by_every_command"),
    ("Chainer's second moment dropped",  "training/engine/import_chainer.py", '"exp_avg_sq": torch.from_numpy(np.array(values["v"]))', '"exp_avg_sq": torch.from_numpy(np.array(values["m"]))', "test_import.py"),
    ("a gradient penalty at the real",   "training/engine/penalties.py",    "epsilon * real + (1 - epsilon) * fake", "real", "test_penalties.py"),
    ("a penalty without its third forward", "training/engine/step.py",       "    if config.penalty and ", "    if False and ", "test_formulas.py"),
    ("a lazy penalty of single weight",   "training/engine/step.py",        "config.penalty_weight * config.penalty_every", "config.penalty_weight", "test_formulas.py"),
    ("similar images of two classes",    "training/engine/losses.py",       "    if y is not None:\n        near", "    if False:\n        near", "test_penalties.py::test_the_similarity_counts_near_pairs_of_a_class"),
    ("a diversity term left out",        "training/engine/step.py",         "value + config.diversity_weight * alike", "value", "test_formulas.py"),
    ("clipping forgotten",               "training/engine/step.py",         "if config.clip:", "if False:", "test_formulas.py"),
    ("a crop at the last offset",        "training/feed/draws.py",         "max(stored - side, 1)", "max(stored - side, 1) + 1", "test_presets.py::test_random_crops_are_where_the_authors_put_them"),
    ("flipped behind the crop",          "sngan_hub/data/images.py", "pixels = pixels[:, ::-1]\n    crop = pixels[top : top + side, left : left + side]", "pass\n    crop = pixels[top : top + side, left : left + side][:, :: -1 if flip else 1]", "test_prepare.py::test_the_authors_random_crop_and_flip"),
    ("contrast not stretched",           "sngan_hub/data/images.py", "    if stretch:\n        low", "    if False:\n        low", "test_prepare.py::test_the_authors_crop_stretch_and_resize"),
    ("a resumed preparation starts late", "training/prepare/build.py",     "todo = [b for b in range(blocks) if b not in done]", "todo = [b for b in range(blocks) if b > len(done)]", "test_prepare.py::test_killed_at_any_moment_it_goes_on"),
    ("refused pictures counted as class 0", "training/prepare/build.py",   "labels[row] = -1", "labels[row] = 0", "test_prepare.py::test_a_tree_of_class_folders"),
    ("one checkpoint for all",           "training/engine/checkpoints.py",        "checkpoints(out)[: -config.keep_checkpoints]", "checkpoints(out)[:-1]", "test_long_runs.py::test_the_last_checkpoints_are_kept_and_a_damaged_one_is_passed_over"),
    ("the worst snapshot offered",       "training/monitor/score.py",        "pick = min if", "pick = max if", "test_long_runs.py::test_the_best_snapshot_is_the_one_that_is_offered"),
    ("NaN saved",                        "training/engine/checkpoints.py",        "if not torch.stack([torch.isfinite(p).all() for p in parameters]).all():", "if not torch.stack([torch.isfinite(p).all() for p in parameters]).any():", "test_long_runs.py::test_numbers_that_run_away_stop_the_run_before_anything_is_saved"),
    ("a changed table renormalised",     "training/finetune/transfer.py", 'fields_d["embed_scale"] = float(', 'fields_d["embed_scale"] = 1.0 + 0 * float(', "test_finetune.py"),
    ("frozen layers wake up",            "sngan_hub/networks/base.py",     "            layer.eval()\n        return self", "            pass\n        return self", "test_finetune.py"),
    ("labels left in the folders' order", "sngan_hub/data/images.py", "labels=place[self.labels]", "labels=self.labels", "test_finetune.py"),
    ("u left as it was",                 "training/finetune/transfer.py",        '            theirs |= _converged("embed", table, own)\n', '            theirs["embed.u"] = own["embed.u"]\n', "test_finetune.py"),
    ("a morph that stops short",         "sngan_hub/sampling/morph.py",    "torch.linspace(0, len(y) - 1, frames", "torch.linspace(0, len(y) - 1.2, frames", "test_morphing.py"),
    ("a walk of unequal steps",          "sngan_hub/sampling/morph.py",    'axes = cast("Tensor", torch.linalg.qr(axes.double().t()).Q.t())', "axes = axes.double()", "test_morphing.py"),
    ("a link that loses seed 0",         "space/inputs.py",             'if value not in (None, "", [])}', 'if value not in (None, "", [], 0)}', "test_space.py::test_links_carry_what_they_must"),
    ("a probe scored on its own images", "training/finetune/probe.py",        "(x_test - mean) / deviation", "(x - mean) / deviation", "test_probe.py"),
    ("tensors loaded loosely",           "sngan_hub/networks/mixin.py",       "problems = [f\"{name} is missing\" for name in own if name not in given]", "problems = []", "test_mixin.py::test_tensors_that_do_not_fit_are_named"),
    ("the same candidates over and over", "sngan_hub/sampling/refine.py",   "truncation, stream=candidate)", "truncation, stream=0)", "test_refining.py"),
    ("rejection without its limit",      "sngan_hub/sampling/refine.py",    "over - torch.log(-torch.expm1(over)) - torch.tensor", "over - torch.tensor", "test_refining.py"),
    ("Langevin without its noise",       "sngan_hub/sampling/refine.py",    "+ step_size**0.5 * noise", "+ 0 * noise", "test_refining.py"),
    ("Langevin without the prior",       "sngan_hub/sampling/refine.py",    "(z.detach() - uphill)", "(-uphill)", "test_refining.py"),
    ("calibrated the wrong way round",   "training/finetune/calibrate.py",        "torch.cat([fake, real]).double()", "torch.cat([real, fake]).double()", "test_refining.py"),
    ("calibrated on training images",    "training/finetune/calibrate.py",        'if config.data and config.split == "all"', 'if False and config.split == "all"', "test_refining.py"),
    ("a schedule that divides by nothing", "training/config/schema.py",     " or self.decay_from == self.decay_to:", ":", "test_finetune_run.py"),
    ("pictures below a score kept",      "sngan_hub/cli/scoring.py",     "sorted(rows, reverse=True) if row[0] >= least]", "sorted(rows, reverse=True)]", "test_judging.py"),
    ("itself as its nearest",            "training/feed/near_copies.py",       '        apart.fill_diagonal_(float("inf"))\n', "        pass\n", "test_report.py"),
    ("copies counted the wrong way",     "training/feed/near_copies.py",       "(apart < 0)", "(apart > 0)", "test_report.py"),
    ("Adam's moments for new tables too", "training/finetune/transfer.py",       "torch.equal(parameter.detach().cpu(), weights[name])", "True", "test_report.py"),
    ("Adam's moments forgotten",         "training/finetune/transfer.py",        "                optimizer.set_moments(parameter, moments[name])\n", "                pass\n", "test_report.py"),
    ("held-out images trained on",       "training/config/schema.py",       'return "train" if self.held_out == "tenth"', 'return "all" if self.held_out == "tenth"', "test_long_runs.py::test_held_out_images_are_not_trained_on"),
    ("patience without end",             "training/monitor/score.py",        "if best else 0", "if not best else 0", "test_long_runs.py::test_a_run_ends_where_scores_no_longer_get_better"),
    ("a private path on a card",         "training/publish/record.py",       '        recipe["donor"] = donor_name(config["donor"], start.get("donor_kind", ""))\n', "        pass\n", "test_finetune_run.py::test_the_result_goes_through_every_door"),
    ("one sigma for real and fake",      "sngan_hub/layers/logical_forward.py", "tuple(estimates[i] for estimates in found)", "tuple(found[0][i] for estimates in found)", "test_fast_step.py::test_one_pass_and_two_are_the_plain_form"),
    ("a divided weight without sigma's gradient", "sngan_hub/layers/sigma_gradient.py", "return _minus_outer(gradient, weight, (inner * u)[None], v[None]), None, None, None", "return gradient, None, None, None", "test_fast_step.py::test_one_pass_and_two_are_the_plain_form"),
    ("a scaled output without sigma's gradient", "sngan_hub/layers/sigma_gradient.py", "inner[:, None] * us, vs)", "0 * inner[:, None] * us, vs)", "test_fast_step.py::test_one_pass_and_two_are_the_plain_form"),
    ("v in the wrong order of columns",  "sngan_hub/layers/logical_forward.py", "layer.v.copy_(as_weight(v[None], layer.weight).flatten())", "layer.v.copy_(v)", "test_fast_step.py"),
    ("scaled behind the bias",           "sngan_hub/layers/sigma_gradient.py", "torch.addcmul(shift, y.to(scale.dtype), scale)", "(y + shift) * scale", "test_fast_step.py"),
    ("t counted from anew",              "training/engine/state.py",        'int(self.state[p]["step"]) if p in self.state else 0', "0", "test_fast_step.py::test_adam_counts_its_steps_through_a_checkpoint"),
    ("one pass of batch norm over all groups", "sngan_hub/layers/normalizers.py", "groups = x.view(-1, size, *x.shape[1:])", "groups = x.view(1, -1, *x.shape[1:]).expand(len(x) // size, -1, *x.shape[1:])", "test_fast_step.py::test_batch_norm_in_one_pass_is_by_groups"),
    ("a checkpoint that moves on",       "training/engine/checkpoints.py",        'return parts.detach().to("cpu", copy=True)', 'return parts.detach().to("cpu")', "test_machine.py::test_a_checkpoint_behind_the_step_is_the_state_of_its_step"),
    ("a resumed run in another form",    "training/config/schema.py",       '{**dataclasses.asdict(Config()), "compile": "off", **old}', "{**dataclasses.asdict(Config()), **old}", "test_machine.py::test_a_resumed_run_keeps_its_form"),
    ("processes that stop one by one",   "training/engine/distributed.py",       'flag = torch.tensor(float(said), device=accelerator.device)\n    return bool(accelerator.reduce(flag, "sum") > 0)', 'flag = torch.tensor(float(said), device=accelerator.device)\n    return bool(flag > 0)', "test_machine.py::test_all_processes_stop_at_the_same_step"),
    ("sampling that switches modes",     "sngan_hub/evaluating.py",  "    copies = {module:", "    return network.eval()\n    copies = {module:", "test_evaluating.py"),
    ("pictures of deep folders dropped", "sngan_hub/data/folders.py", "if real not in above:", "if real not in above and not parts:", "test_prepare_sources.py::test_every_tenth_of_a_deep_class_in_name_order"),
    ("links of a tar dropped",           "training/prepare/sources.py",     "elif m.islnk() or m.issym():", "elif m.issym():", "test_prepare_sources.py::test_links_of_a_tar_are_pictures_too"),
    ("train/ and val/ taken for classes", "sngan_hub/data/folders.py", "if direct or not tops:", "if direct or not tops or len(tops) > 1:", "test_prepare_sources.py::test_a_folder_and_its_tar_have_the_same_classes"),
    ("a run inside its data",            "training/feed/checks.py",        "if ours == theirs or theirs in ours.parents or", "if ours == theirs or", "test_finetune_run.py::test_a_run_and_its_data_lie_apart"),
    ("a run taken for a class",          "sngan_hub/data/folders.py", 'return "a run" if isinstance(fields, dict)', 'return "a run" if False', "test_finetune_run.py::test_a_run_of_an_earlier_version_in_its_data_is_no_class"),
    ("large pictures in one strip",      "sngan_hub/data/images.py", "_STRIP = 2**18", "_STRIP = 2**40", "test_sources.py::test_a_large_picture_takes_no_multiple_of_its_memory"),
    ("avatars drawn by every process",   "sngan_hub/data/avatars.py", "            if not path.is_file():  #", "            if True:  #", "test_sources.py::test_avatars_are_drawn_once_for_all_processes_and_it_is_said_first"),
    ("emptied folders kept",             "space/files.py",              "                folder.rmdir()", "                pass", "test_space.py::test_a_request_leaves_no_folder_behind_once_its_files_are_deleted"),
    ("classes paired by position",       "sngan_hub/metrics/references.py", "    if ours or theirs:\n", "    if ours or theirs:\n        return data\n    if False:\n", "test_metrics.py::test_classes_are_matched_by_name"),
    ("an untrained judge",               "sngan_hub/metrics/classifier.py", "if len(train.images) < BATCH:", "if False:", "test_metrics.py::test_a_classifier_without_a_step_judges_nothing"),
    ("the first of many classes",        "sngan_hub/metrics/measures.py", 'e.sample_features(k * PER_CLASS, chosen)', 'e.sample_features(k * PER_CLASS, chosen).flip(0)', "test_metrics.py::test_many_classes_are_measured_on_fifty_of_them"),
    ("precision for recall",              "sngan_hub/metrics/scores.py", '"precision": precise / len(fake),', '"precision": float(recalled.double().mean()),', "test_scores.py::test_precision_and_recall_are_not_swapped"),
    ("coverage for recall",               "sngan_hub/metrics/scores.py", "recalled |= (distance <= radius[:, None]).any(0)", "recalled |= (distance <= of_real).any(0)", "test_scores.py::test_prdc_is_its_definition_and_torch_fidelitys"),
    ("a neighbour that is the image itself", "sngan_hub/metrics/scores.py", "largest=False).values[:, k]", "largest=False).values[:, k - 1]", "test_scores.py::test_prdc_is_its_definition_and_torch_fidelitys"),
    ("the softmax over all outputs",      "sngan_hub/metrics/scores.py", "softmax(1)[:, 1:1001]", "softmax(1)", "test_scores.py::test_both_inception_scores_on_probabilities_by_hand"),
    ("an Inception Score with the bias",  "sngan_hub/metrics/measures.py", "value, deviation = inception_score(_logits(e, e.sample_features(50_000), bias=False))", "value, deviation = inception_score(_logits(e, e.sample_features(50_000), bias=True))", "test_protocols.py::test_both_inception_scores_take_their_labels_and_logits"),
    ("one covariance for all blocks",     "sngan_hub/metrics/scores.py", "        centred = part.double() - mean\n", "        centred = part.double() - part.double().mean(0)\n", "test_scores.py::test_statistics_block_by_block_are_numpys"),
    ("the samples of other weights",      "sngan_hub/metrics/evaluation.py", "            self.weights_sha256,\n            self._form,", "            self._form,", "test_extraction.py::test_features_of_many_samples_survive_an_interruption"),
    ("statistics of the last batch",      "sngan_hub/metrics/standing.py", "norm.momentum = 1 / (i + 1)", "norm.momentum = 1", "test_standing.py::test_they_are_the_means_of_the_statistics_of_batches"),
    ("a cropped reference of intra-FID",  "sngan_hub/metrics/real_images.py", "return self._training_images(squash=True)", "return self._training_images(squash=False)", "test_pictures.py::test_the_reference_of_intra_fid_is_resized_whole"),
    ("pictures in the order of their names", "sngan_hub/metrics/pictures.py", ".permutation(len(self.data.labels))", ".permutation(len(self.data.labels)) * 0 + np.arange(len(self.data.labels))", "test_pictures.py::test_class_folders_are_taken_in_turn_and_by_name"),
    ("a branch of the graph misnamed",    "sngan_hub/metrics/published_inception.py", '"branch3x3_2a": "tower_mixed_conv", "branch3x3_2b": "tower_mixed_conv_1",', '"branch3x3_2a": "tower_mixed_conv_1", "branch3x3_2b": "tower_mixed_conv",', "test_published_inception.py::test_features_and_logits_are_torch_fidelitys"),
    ("a pickled kernel not laid out",     "sngan_hub/networks/inference.py",   '        self._lay_out(state["_dense"])\n', "        pass\n", "test_forms.py::test_the_same_function_comes_out"),
    ("loaded in torch's default dtype",  "sngan_hub/networks/mixin.py",       "            dtype = torch.float32  # whatever", "            pass  # whatever", "test_forms.py::test_torchs_default_dtype_changes_nothing_that_is_loaded"),
    ("headers not compared",             "sngan_hub/networks/mixin.py",       "        _refuse(network, str(path), _misfits(network, header))\n", "", "test_hostile_networks.py"),
    ("negative variances loaded",        "sngan_hub/networks/mixin.py",       "            if (tensor < 0).any():", "            if False:", "test_hostile_networks.py"),
    ("prepared blocks not compared",     "training/engine/loop.py",         "        check_blocks(data)\n", "        pass\n", "test_prepare.py::test_a_run_starts_and_resumes_only_on_what_was_prepared"),
    ("scored on training images",        "training/feed/near_copies.py",       "if same > SHARED * n:", "if same > n:", "test_long_runs.py::test_pictures_that_are_trained_on_are_not_held_out"),
    ("calibrated on a copy of them",     "training/finetune/probe.py",        '    check_no_training_images(seen, training, f"data: {source}")', "    pass", "test_refining.py::test_a_run_is_not_calibrated_on_what_it_was_trained_on"),
    ("compared at another size",         "training/feed/images.py",          "size, stretch = training.images.shape[-1], config", "size, stretch = config.size, config", "test_probe.py::test_training_images_are_known_however_the_run_reads_them"),
    ("a row of another unit",            "sngan_hub/layers/resample.py",     'and dtype == torch.bfloat16 and AMX else ""', 'and AMX else ""', "test_resample.py::test_a_layer_takes_the_row_of_its_unit_and_of_the_nearest_batch"),
    ("a row of another batch",           "sngan_hub/layers/resample.py",     "dtype, device, batch)\n\n\ndef prefers", "dtype, device)\n\n\ndef prefers", "test_resample.py::test_a_batch_decides_what_a_layer_computes"),
    ("the farthest classes as the nearest", "training/finetune/transfer.py", "likeness.topk(min(NEAREST, len(likeness)))", "likeness.topk(min(NEAREST, len(likeness)), largest=False)", "test_finetune.py::test_the_nearest_classes_have_the_largest_products_with_embeddings_of_unit_length"),
    ("KID against the training images", "sngan_hub/metrics/measures.py", 'reference = e.real_features("test", 1000)', 'reference = e.real_features("train", 1000)', "test_protocols.py::test_scores_of_prefixes_and_their_floors_are_those_of_the_test_images"),
    ("a class transition that never happens", "training/engine/step.py", "    if config.transition_to:\n", "    if False:\n", "test_processes.py"),
    ("G's images not augmented", "training/engine/step.py", "loss.generator(d(augment(x, names, draws), y))", "loss.generator(d(x, y))", "test_processes.py::test_the_generators_images_are_augmented_too"),
    ("an average that is G", "training/engine/step.py", "state.generator, config.ema_decay, step)", "state.generator, 0.0, step)", "test_processes.py::test_micro_batches_are_exact"),
    ("augmentation begins a step late", "training/feed/augment.py", "elif step < start:", "elif step <= start:", "test_training.py::test_augmentation_that_starts_late_leaves_earlier_images_as_they_are"),
    ("augmentation begins at once", "training/feed/feed.py", "c.noise_at(step), c.augment_from)", "c.noise_at(step))", "test_feed.py::test_the_feed_augments_from_its_step_on_and_changes_no_noise"),
    ("saturation unchanged", "training/feed/augment.py", "(u[1] * 2)", "1", "test_training.py::test_color_by_its_formula"),
    ("the short side not resized", "sngan_hub/data/images.py", "if short_side and min(image.size) != short_side:", "if False:", "test_prepare.py::test_a_short_side_is_resized_first"),
    ("copies judged by the first class", "training/monitor/report.py", "rows[evenly(len(rows), most)]", "rows[:most]", "test_report.py::test_images_to_compare_with_come_from_all_parts_of_the_shown_classes"),
]
# fmt: on


def main(only: str = "") -> int:
    """``only``: those whose name or file holds this word."""
    survived, chosen = [], [m for m in MUTATIONS if only in m[0] or only in m[1]]
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy"
        ignored = shutil.ignore_patterns(".venv", ".git", "__pycache__", "runs", "*.egg-info")
        shutil.copytree(ROOT, copy, ignore=ignored)
        for what, file, right, wrong, test in chosen:
            path = copy / file
            text = path.read_text()
            if text.count(right) != 1:
                print(f"{what:36} STALE: {file} holds its line {text.count(right)} times")
                survived.append(what)
                continue
            path.write_text(text.replace(right, wrong))
            command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", f"tests/{test}"]
            code = subprocess.run(command, cwd=copy, capture_output=True).returncode
            path.write_text(text)
            print(f"{what:36} {'caught' if code == 1 else f'NOT CAUGHT (exit {code})'}", flush=True)
            if code != 1:
                survived.append(what)
    print(f"{len(chosen) - len(survived)} passed, {len(survived)} failed")
    return bool(survived)


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:2]))
