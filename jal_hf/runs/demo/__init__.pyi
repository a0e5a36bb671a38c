from .page import demo_page as demo_page
from .serving import serve as serve
