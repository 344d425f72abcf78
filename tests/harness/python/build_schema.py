"""Makes Rucio's tables, its virtual organisation and the account root in the database of rucio.cfg."""

from rucio.db.sqla.util import build_database, create_base_vo, create_root_account

build_database()
create_base_vo()
create_root_account()
