"""How does a generator make images? Seed and classes -> latents -> uint8 images, grids and files; morphs, blends and
walks; rejection and Langevin steps.
"""
