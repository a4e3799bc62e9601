"""The parts of the U-Noise module: parameters, widget, logic, engine process, scene, display, installation.

parameters -> logic -> engine process -> scene. No algorithm lives here: the engine runs as a program of its own.
"""
