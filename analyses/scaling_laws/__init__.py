"""Laws of a network's shape (`shape`) and of a vision-language model's encoder (`encoder`).

Both are separable least-squares problems (`separable`, `fitting`); `planners` and `encoder_gain`
turn fitted laws into recommendations, `sovit` retraces the recipe of "Getting ViT in Shape".
"""
