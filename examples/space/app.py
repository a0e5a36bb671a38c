"""The page of a trained run, on the Hub."""

from jal_hf.runs.demo import demo_page

demo_page("me/my-robust-classifier").launch()
