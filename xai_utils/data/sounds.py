"""Sounds with a known place in time and pitch: a third modality that needs no recordings.

Twelve kinds, 0 to 11: a tone, a chirp, a band of noise and a train of pips (kind % 4), each at
three pitches (kind // 4). A clip holds one of them, or two in turn, and faint noise.
"""

from functools import cache

import numpy as np
import torch
from torch import Tensor

from ..checks import check_number, check_seed

KINDS, RATE, LENGTH = 12, 8000, 16000  # samples a second, samples of a clip
PITCHES = (300.0, 800.0, 2000.0)  # Hz
WINDOW, HOP, FRAMES, BANDS = 512, 125, 128, 64  # of the spectrogram


def sound(kind: int, rng: np.random.Generator) -> np.ndarray:
    """One sound of 0.6 to 0.9 s, (samples,); its pitch, length and loudness vary with `rng`.

    Raises ValueError for a kind outside 0..11.
    """
    check_number("kind", kind, 0, KINDS - 1, integer=True)
    n, f = int(rng.uniform(0.6, 0.9) * RATE), PITCHES[kind // 4] * rng.uniform(0.95, 1.05)
    t = np.arange(n) / RATE
    if kind % 4 == 0:  # a tone with its octave
        wave = np.sin(2 * np.pi * f * t) + 0.5 * np.sin(4 * np.pi * f * t)
    elif kind % 4 == 1:  # a chirp from 0.7 f to 1.3 f
        wave = np.sin(2 * np.pi * f * (0.7 * t + 0.3 * t**2 * RATE / n))
    elif kind % 4 == 2:  # noise between f / 1.25 and 1.25 f
        spectrum, hertz = np.fft.rfft(rng.normal(size=n)), np.fft.rfftfreq(n, 1 / RATE)
        wave = np.fft.irfft(spectrum * ((hertz > f / 1.25) & (hertz < 1.25 * f)), n)
    else:  # pips, eight a second
        wave = np.sin(2 * np.pi * f * t) * (np.sin(2 * np.pi * 8 * t) > 0.3)
    fade = np.minimum(1, np.minimum(t, t[::-1]) / 0.03)
    return fade * wave / wave.std() * rng.uniform(0.7, 1.3)


def clip(kinds: list[int], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A clip of one or two sounds in turn, (LENGTH,), and each of them alone, (2, LENGTH)."""
    if not hasattr(kinds, "__len__") or len(kinds) not in (1, 2):
        got = len(kinds) if hasattr(kinds, "__len__") else repr(kinds)
        raise ValueError(f"a clip holds one or two sounds, got {got}")
    alone = np.zeros((2, LENGTH))
    part = LENGTH // len(kinds)
    for i, (kind, row) in enumerate(zip(kinds, alone)):
        wave = sound(kind, rng)
        start = i * part + int(rng.integers(part - len(wave) + 1))
        row[start : start + len(wave)] = wave
    return alone.sum(0) + 0.02 * rng.normal(size=LENGTH), alone


def clips(kinds: list[list[int]], *, seed: int, first: int = 0) -> tuple[Tensor, Tensor]:
    """Clips as an image encoder takes them, and where each of their sounds is.

    kinds  one or two kinds for each of n clips; clip i follows from seed and first + i alone
    Returns (n, 3, 64, 128), half the logarithm of the power in 64 mel bands, low ones first, at 128
    moments, in three equal channels; and (n, 2, 64, 128) bool, where the first and the second sound
    are louder than the other and than a fiftieth of their own maximum.
    """
    check_seed(seed)
    check_number("first", first, 0, integer=True)
    made = [clip(some, np.random.default_rng([seed, first + i])) for i, some in enumerate(kinds)]
    log = (mel_power([wave for wave, _ in made]) + 1e-2).log10()  # (n, 64, 128)
    alone = torch.stack([mel_power(parts) for _, parts in made])  # (n, 2, 64, 128)
    loud = alone > 0.02 * alone.amax((2, 3), keepdim=True)
    louder = alone == alone.amax(1, keepdim=True)
    return (log / 2)[:, None].expand(-1, 3, -1, -1).contiguous(), loud & louder


def mel_power(waves) -> Tensor:
    """(n, LENGTH) -> the power in 64 bands at 128 moments, (n, 64, 128), low bands first."""
    waves, window = torch.as_tensor(np.asarray(waves), dtype=torch.float32), torch.hann_window(256)
    spectrum = torch.stft(waves, WINDOW, HOP, 256, window, return_complex=True)  # (n, 257, 129)
    return mel_bands() @ spectrum.abs().square()[..., :FRAMES]


@cache
def mel_bands() -> Tensor:
    """Triangles over frequency, even on the mel scale from 60 Hz to 4 kHz, (64, 257)."""
    hertz = torch.fft.rfftfreq(WINDOW, 1 / RATE)
    mels = torch.linspace(np.log10(1 + 60 / 700), np.log10(1 + 4000 / 700), BANDS + 2)
    edges = 700 * (10**mels - 1)
    low, mid, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    return torch.minimum((hertz - low) / (mid - low), (high - hertz) / (high - mid)).clamp(min=0)
