"""Vision-language models on cached tokens: a projector and a language model after a frozen encoder.

The encoder never changes, so its tokens come from a store: a step of training costs the same
whatever the number of scales, except for the projector's wider first layer.
"""
