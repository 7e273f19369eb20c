"""The demo: sends one generated file of each supported type, and some invalid ones, through a system of its own."""
