"""How do images of any kind become a prepared data set?"""
