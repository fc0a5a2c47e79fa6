"""Views: the same memory under another layout."""
import torch

from suite import Operand, Suite, expanded, laid


def suite():
    s = Suite("views")
    x = s.normal(2, 3, 4)

    def add(name, view, operand, **options):
        s.add(name, "View", view, Operand(torch.zeros(0), [view]).apply, [operand], **options)

    for layout in ("contiguous", "transposed", "narrowed", "selected"):
        add(f"reshape/{layout}", {"reshape": [4, 6]}, laid(x, layout))
        add(f"reshape/split/{layout}", {"reshape": [2, 3, 2, 2]}, laid(x, layout))
        add(f"permute/{layout}", {"permute": [2, 0, 1]}, laid(x, layout))
        add(f"narrow/{layout}", {"narrow": {"dim": 1, "start": 1, "len": 2, "step": 1}}, laid(x, layout))
        add(f"narrow/step/{layout}", {"narrow": {"dim": 2, "start": 0, "len": 2, "step": 3}}, laid(x, layout))
        add(f"select/{layout}", {"select": {"dim": 1, "index": 2}}, laid(x, layout))
        add(f"expand/{layout}", {"expand": [2, 2, 3, 4]}, laid(x, layout))
    add("reshape/size1", {"reshape": [1]}, laid(x[:1, :1, :1]))
    add("reshape/rank0", {"reshape": []}, laid(x[:1, 0, 0]))
    add("reshape/expanded", {"reshape": [6]}, expanded(x[0, :1, :1], [2, 3]))
    add("permute/size1", {"permute": [1, 0]}, laid(x[:1, :1, 0]))
    add("expand/size1", {"expand": [3, 4]}, laid(x[0, :1, :1]))
    add("expand/column", {"expand": [2, 3, 4]}, laid(x[0, :, :1], "narrowed"))
    add("expand/twice", {"expand": [2, 3, 4]}, expanded(x[0, :1, :1], [1, 4]))
    add("expand/scalar", {"expand": [2, 3]}, laid(x[0, 0, 0]))
    add("narrow/size1", {"narrow": {"dim": 1, "start": 0, "len": 1, "step": 1}}, laid(x[:1, :1, 0]))
    add("select/size1", {"select": {"dim": 0, "index": 0}}, laid(x[:1, :1, 0]))
    s.add("detach/size1", "View", {"detach": None}, lambda x: x.detach(), [laid(x[:1, :1, 0])])
    add("narrow/all", {"narrow": {"dim": 0, "start": 0, "len": 2, "step": 1}}, laid(x))
    add("narrow/empty", {"narrow": {"dim": 0, "start": 1, "len": 0, "step": 1}}, laid(x), kinks=True)
    add("select/rank1", {"select": {"dim": 0, "index": 1}}, laid(x[0, 0]))
    for layout in ("contiguous", "transposed", "narrowed"):
        s.add(f"detach/{layout}", "View", {"detach": None}, lambda x: x.detach(), [laid(x[0], layout)])
    for dtype in (torch.bool, torch.uint8, torch.int32, torch.int64, torch.float16, torch.bfloat16, torch.float64):
        name = f"{dtype}".replace("torch.", "")
        add(f"reshape/{name}", {"reshape": [4, 3]}, laid((x[0] * 4).abs().to(dtype), "transposed"))
    return s
