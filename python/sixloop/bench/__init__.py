"""Speed: which layers are timed, how, beside whom, and what is made of the figures.

``python -m sixloop bench`` is the way in. ``shapes`` derives layers from networks, ``cases`` says
what is timed, ``verify`` checks every result before, ``timing`` runs libraries in turns, ``report``
and ``roofline`` print and draw. ``torch_peer`` alone imports PyTorch, and only where it is asked
for.
"""
