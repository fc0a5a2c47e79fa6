"""Prints what TensorBoard's EventAccumulator reads of a folder of event files, as JSON: read_events.py FOLDER."""

import json
import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

events = EventAccumulator(sys.argv[1], size_guidance={"scalars": 0, "images": 0, "histograms": 0})
events.Reload()
tags = events.Tags()
scalars = {tag: [[e.step, e.value] for e in events.Scalars(tag)] for tag in tags["scalars"]}
images = {tag: [[e.step, e.width, e.height, e.encoded_image_string.hex()] for e in events.Images(tag)] for tag in tags["images"]}
histograms = {
    tag: [[e.step, e.histogram_value.num, list(e.histogram_value.bucket_limit), list(e.histogram_value.bucket)] for e in events.Histograms(tag)]
    for tag in tags["histograms"]
}
print(json.dumps({"scalars": scalars, "images": images, "histograms": histograms}))
