"""How good a recording is beside the original: PESQ (ITU-T P.862.2, wide band) and STOI, in pieces that are aligned one by one."""

import warnings
import wave

import numpy as np
from pesq import NoUtterancesError, pesq
from pystoi import stoi
from scipy.signal import fftconvolve, resample_poly

RATE = 16000
PIECE_S = 6
# A receiver may change its delay in between; PESQ looks for smaller shifts by itself.
SHIFT_S = 0.5


def read(path):
    with wave.open(str(path)) as file:
        rate, samples = file.getframerate(), np.frombuffer(file.readframes(file.getnframes()), np.int16)
    return resample_poly(samples.astype(np.float64), RATE, rate) if rate != RATE else samples.astype(np.float64)


def shift(original, heard):
    """Where in `heard` the original begins."""
    return int(np.argmax(fftconvolve(heard, original[::-1], mode="valid")))


def pieces(original, heard):
    """Pieces of the original, each with what was heard of it and how much later that was than at the beginning, in seconds."""
    margin = int(SHIFT_S * RATE)
    heard = np.concatenate([np.zeros(margin), heard, np.zeros(len(original) + margin)])
    begin = shift(original, heard)
    step = PIECE_S * RATE
    for at in range(0, len(original) - step // 2, step):
        piece = original[at : at + step]
        start = max(0, begin + at - margin)
        around = heard[start : begin + at + len(piece) + margin]
        found = shift(piece, around)
        yield piece, around[found : found + len(piece)], (start + found - begin - at) / RATE


def score(original, heard):
    """Means over all pieces: PESQ (1 to 4.6), STOI (0 to 1), and the span of the delays in seconds."""
    pesqs, stois, delays = [], [], []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for piece, found, later in pieces(original, heard):
            try:
                pesqs.append(pesq(RATE, piece, found, "wb"))
            except NoUtterancesError:
                continue
            stois.append(stoi(piece, found, RATE))
            delays.append(later)
    return float(np.mean(pesqs)), float(np.mean(stois)), float(np.ptp(delays))
