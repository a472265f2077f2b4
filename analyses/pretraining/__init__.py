"""Does a small model that is pre-trained at several scales match a larger one (Table 4)?"""
