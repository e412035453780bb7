"""The SN paper's comparison as one command: which runs (plan), their times (timing), training and scores (run), and the
tables, figures and page made from the results (page), beside what the paper reports (paper).
"""
