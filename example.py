"""The shortest path: a name, a seed, a labelled picture. Needs no GPU and no network."""

from sngan_hub import labelled_grid, load_discriminator, load_generator, save_png

generator = load_generator("sngan_fashion32")
images = generator.sample(n=8, classes=generator.classes, seed=0)  # uint8 (80, 3, 32, 32), eight of each class
save_png(labelled_grid(images, columns=8, row_labels=generator.classes), "samples.png", {"seed": 0})

discriminator = load_discriminator("sngan_fashion32")
x = images.float() / 127.5 - 1
labels = [i // 8 for i in range(len(x))]
scores = discriminator(x, x.new_tensor(labels).long())  # (80, 1): higher is more real, and more of its class
print(f"samples.png: ten classes, eight each; mean score of the discriminator {scores.mean():.2f}")
