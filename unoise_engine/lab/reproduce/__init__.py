"""The paper's figures and tables by one command: data, trainings, evaluation, and one HTML report.

``scale`` says how large, ``recipes`` reads and shrinks the recipes, ``study`` trains and evaluates in ``stages`` that
are not done twice, ``figures`` draws, ``report`` writes the page.
"""
